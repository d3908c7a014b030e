-- heartbeat_spec.lua -- pings at their times and in their two forms, their answers, and `conn.rtt`.
--
-- Times are judged so that a slow machine does not fail: never early, in order, and not as late
-- as a period that was doubled.

local cjson = require "cjson"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

-- (client.ask returns the kind as well, which cjson.decode takes for an argument too many)
local function decode(text) return cjson.decode(text) end

local APP = [[
local function tell(conn, message)
  conn:send({ id = conn.id, rtt = conn.rtt or "unknown", seen = message })
end
return {
  endpoints = {
    ["/json"]   = { codec = "json", heartbeat = "json", ping_period = 0.1, handle_message = tell },
    ["/named"]  = { codec = "json", heartbeat = "json", ping_period = 0.1, name = "ticker" },
    ["/quiet"]  = { codec = "json", heartbeat = "json", ping_period = 0, handle_message = tell },
    ["/text"]   = {
      heartbeat = "json", ping_period = 0,
      handle_message = function(conn, message) conn:send("seen " .. message) end,
    },
    ["/frame"]  = { codec = "json", ping_period = 0.1, handle_message = tell },
    ["/own"]    = {
      ping_period = 0.1,
      on_start = function(conn) conn.sent = 0 end,
      send_ping = function(conn)
        conn.sent = conn.sent + 1
        conn:send("own ping " .. conn.sent)
      end,
    },
    ["/asked"]  = {
      ping_period = 0,
      handle_message = function(conn, message)
        if message == "ping me" then conn:ping() else conn:send(tostring(conn.rtt)) end
      end,
    },
  },
}
]]

describe("the heartbeat", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  -- The n-th of something that comes each `period` seconds since `start`, now. That it does not
  -- come late is tests/unit/test_hub_timers.c's, which has a clock of its own.
  local function assert_not_early(start, period, n)
    local elapsed = loop.now() - start
    assert.is_true(elapsed >= n * period - 0.01,
      ("number %d came early, after %.3f s"):format(n, elapsed))
  end

  it("in JSON numbers its pings 1, 2, 3, … one period apart", function()
    local start = loop.now()
    local ada = app:connect("/json")
    ada:send_text('"who am I"')
    local id = decode(ada:receive()).id
    for number = 1, 10 do
      local ping, kind = ada:receive()
      assert_not_early(start, 0.1, number)
      assert.equal("text", kind)
      assert.same({ type = "ping", pingId = number, name = "/json", connId = id }, decode(ping))
      assert.is_truthy(ping:find('"pingId":' .. number .. "[,}]"),
        "the number is not an integer: " .. ping)
    end
    assert.equal(0, #ada.pings)
  end)

  it("in JSON calls the endpoint by its name", function()
    assert.equal("ticker", decode(app:connect("/named"):receive()).name)
  end)

  it("in JSON answers a client's ping with its id and the time", function()
    local ada = app:connect("/quiet")
    for _, id in ipairs({ "1", "77", '"abc"', "9007199254740993" }) do
      local text = ada:ask('{"type":"ping","pingId":' .. id .. "}")
      local pong = decode(text)
      assert.equal("pong", pong.type)
      assert.is_truthy(text:find('"pingId":' .. id, 1, true), "another id in " .. text)
      assert.is_true(math.abs(pong.timestamp - os.time()) < 60)
    end
    assert.equal("after", decode(ada:ask('"after"')).seen)
  end)

  it("in JSON takes a client's pong as the answer, which gives conn.rtt", function()
    local ada = app:connect("/json")
    local ping = decode(ada:receive())
    ada:send_text(('{"type":"pong","pingId":%d}'):format(ping.pingId))
    ada:send_text('"and now"')
    local answer
    repeat answer = decode(ada:receive()) until answer.type ~= "ping"
    assert.equal("and now", answer.seen)
    assert.is_number(answer.rtt)
    assert.is_true(answer.rtt >= 0 and answer.rtt < 10)
  end)

  it("in JSON is kept from handle_message under the text codec too", function()
    local ada = app:connect("/text")
    assert.equal("pong", decode(ada:ask('{"type":"ping","pingId":5}')).type)
    ada:send_text('{"type":"pong","pingId":5}')
    for _, other in ipairs({
      "hello", '{"type":"ping"', '"ping"', '{"type":"chat","text":"\\"ping\\""}',
    }) do
      assert.equal("seen " .. other, (ada:ask(other)))
    end
  end)

  it("in JSON bears pongs and pings of any form", function()
    local ada = app:connect("/quiet")
    for _, id in ipairs({
      '"x"', "1.5", "-1", "null", "[]", "{}", "true", "9223372036854775807", '"1"',
    }) do
      ada:send_text('{"type":"pong","pingId":' .. id .. "}")
    end
    ada:send_text('{"type":"pong"}')
    local pong = decode(ada:ask('{"type":"ping"}'))
    assert.equal("pong", pong.type)
    assert.is_nil(pong.pingId) -- no key, not null
    assert.equal("unknown", decode(ada:ask('"rtt?"')).rtt)
    for _, other in ipairs({
      '{"type":"pingpong"}', '{"type":["ping"]}', '["ping"]', '{"kind":"ping"}',
    }) do
      assert.is_truthy(decode(ada:ask(other)).seen, other .. " did not reach handle_message")
    end
  end)

  it("in frames sends a silent client PINGs with a payload, one period apart", function()
    local start = loop.now()
    local ada = app:connect("/frame")
    for number = 1, 5 do
      assert.is_true(ada:wait_pings(number))
      assert_not_early(start, 0.1, number)
      assert.is_true(#ada.pings[number].payload > 0)
    end
  end)

  it("in frames learns conn.rtt from the PONG, and knows none before", function()
    local ada = app:connect("/frame")
    assert.equal("unknown", decode(ada:ask('"first"')).rtt)
    assert.is_true(ada:wait_pings(1))
    local rtt = decode(ada:ask('"second"')).rtt
    assert.is_number(rtt)
    assert.is_true(rtt >= 0 and rtt < 10)
  end)

  it("in frames ignores an unsolicited pong", function()
    local ada = app:connect("/asked")
    ada:send_frame({ opcode = "pong", payload = "surprise" })
    ada:send_frame({ opcode = "pong" })
    assert.equal("nil", (ada:ask("rtt?")))
  end)

  it("in frames is not misled by an answer to another ping", function()
    local ada = app:connect("/frame")
    ada.auto_pong = false
    assert.is_true(ada:wait_pings(1))
    ada:send_frame({ opcode = "pong", payload = "x" .. ada.pings[1].payload })
    ada:send_frame({ opcode = "pong" })
    assert.equal("unknown", decode(ada:ask('"rtt?"')).rtt)
    local answered
    for _ = 1, 100 do -- until a PONG goes out before the next PING comes in
      ada:send_frame({ opcode = "pong", payload = ada.pings[#ada.pings].payload })
      answered = decode(ada:ask('"rtt?"')).rtt
      if answered ~= "unknown" then break end
      ada:wait_pings(#ada.pings + 1)
    end
    assert.is_number(answered)
  end)

  it("is what send_ping does, where a handler has it", function()
    local start = loop.now()
    local ada = app:connect("/own")
    for number = 1, 3 do
      assert.equal("own ping " .. number, (ada:receive()))
      assert_not_early(start, 0.1, number)
    end
    assert.equal(0, #ada.pings)
  end)

  it("sends a ping at once when conn:ping() asks for it", function()
    local ada = app:connect("/asked")
    ada:send_text("ping me")
    assert.is_true(ada:wait_pings(1))
    assert.is_number(tonumber((ada:ask("rtt?"))))
  end)

  it("with ping_period = 0 sends none", function()
    local ada = app:connect("/quiet")
    assert.is_true(ada:is_silent(0.3))
    assert.equal(0, #ada.pings)
  end)

  it("goes on in the client's direction: PINGs are answered with their payload", function()
    local ada = app:connect("/quiet")
    for index, payload in ipairs({ "", "x", ("p"):rep(125) }) do
      ada:send_ping(payload)
      assert.is_true(ada:wait_pings(index, nil, "pongs"), #payload .. " bytes")
      assert.equal(payload, ada.pongs[index].payload)
    end
  end)
end)
