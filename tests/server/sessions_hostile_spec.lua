-- sessions_hostile_spec.lua -- clients that lie about counts and secrets get a new session, or are
-- refused: never the messages of another, and never a crash.

local cjson = require "cjson"

local client = require "support.client"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local session_client = require "support.session_client"

-- "say 3" is answered with three numbered messages of the session's owner, all else with what it
-- was, and its number.
local APP = [[
local record = require "record"
local function handler(path, more)
  local handler = {
    resume = { seconds = 60, messages = 50 },
    on_start = function(conn)
      conn.owner, conn.said, conn.got = conn.query.who or "?", 0, 0
      record("start", path, conn.owner)
    end,
    handle_message = function(conn, message)
      conn.got = conn.got + 1
      local text = type(message) == "table" and message.text or message
      for _ = 1, tonumber(tostring(text):match("^say (%d+)") or 1) do
        conn.said = conn.said + 1
        local answer = conn.owner .. " " .. conn.said .. " " .. conn.got
        conn:send(more.codec and { text = answer } or answer)
      end
    end,
    on_disconnect = function(conn, code) record("away", path, conn.owner, code) end,
    on_resume = function(conn) record("back", path, conn.owner) end,
    on_close = function(conn, code, reason) record("close", path, conn.owner, code, reason) end,
  }
  for name, value in pairs(more) do handler[name] = value end
  return handler
end
local function hang()
  record("hangs")
  local finish
  repeat finish = io.open("go_on") until finish
  finish:close()
end
return { endpoints = {
  ["/slow"] = handler("/slow", {
    validate = function() record("validate") return true end,
    handle_message = function(conn, message)
      if message == "hang" then hang() end
      conn:send(message)
    end,
  }),
  ["/"] = handler("/", {}), ["/other"] = handler("/other", {}),
  ["/greets"] = handler("/greets", {
    on_start = function(conn) for i = 1, 3 do conn:send("hello " .. i) end end,
  }),
  ["/json"] = handler("/json", { codec = "json", heartbeat = "json", ping_period = 0 }),
} }
]]

describe("a server with sessions", function()
  local app
  before_each(function() app = server.start { app = APP, options = { "--log-level", "debug" } } end)
  after_each(function()
    if app.process:is_running() then app:stop() else app:kill() end
  end)

  local function connect(query, path)
    return client.connect(app:url((path or "/") .. "?" .. query))
  end

  -- A connection and what its session message says.
  local function open(query, path)
    local peer, status, _, body = connect(query, path)
    assert(peer, ("%s: %s %s"):format(query:sub(1, 100), status, body))
    local text, kind = peer:receive()
    assert.equal("text", kind)
    local value = cjson.decode(text)
    assert.equal("session", value.type)
    return peer, value.resumed, value.received
  end

  -- A session of ada's that has got `count` messages, and lost its socket.
  local function leave_one(secret, count, path)
    local ada, resumed = open("who=ada&session=" .. secret, path)
    assert.is_false(resumed)
    ada:send_text(path == "/json" and ('{"text":"say %d"}'):format(count) or "say " .. count)
    ada:receive_many(count)
    local away = #app:events("away")
    ada:drop()
    app:wait_event("away", away + 1)
  end

  -- It is still there, and lacks nothing.
  local function check_one(secret, count)
    local ada, resumed, received = open(("who=eve&session=%s&received=%d"):format(secret, count))
    assert.same({ true, 1 }, { resumed, received })
    ada:send_text("say 1")
    assert.equal(("ada %d 2"):format(count + 1), (ada:receive()))
    ada:close(1000)
  end

  -- This client is eve, with nothing of anybody else's.
  local function check_new(peer, resumed, received)
    assert.same({ false, 0 }, { resumed, received })
    peer:send_text("say 2")
    assert.same({ "eve 1 1", "eve 2 1" }, peer:receive_many(2))
    peer:close(1000)
  end

  it("gives a guessed secret a new session", function()
    local secret = session_client.secret(32)
    leave_one(secret, 3)
    local other = secret:gsub("%a", function(letter)
      return letter:lower() == letter and letter:upper() or letter:lower()
    end)
    for _, guess in ipairs {
      secret:sub(1, -2), secret:sub(2), secret .. "A", "A" .. secret, secret:reverse(), other,
      secret .. secret, secret:sub(1, 31) .. (secret:sub(32) == "x" and "y" or "x"),
      ("A"):rep(32), session_client.secret(256),
    } do
      check_new(open(("who=eve&session=%s&received=1"):format(guess)))
    end
    check_one(secret, 3)
  end)

  it("gives another endpoint's secret a new session", function()
    local secret = session_client.secret()
    leave_one(secret, 3)
    check_new(open("who=eve&session=" .. secret .. "&received=1", "/other"))
  end)

  it("gives a client that claims what was not sent a new session", function()
    for _, count in ipairs {
      "4", "5", "1000000", "2147483648", "4294967299", "9223372036854775807",
    } do
      local secret = session_client.secret()
      leave_one(secret, 3)
      check_new(open(("who=eve&session=%s&received=%s"):format(secret, count)))
    end
  end)

  it("refuses counts that are none, or gives a new session", function()
    local secret = session_client.secret()
    leave_one(secret, 3)
    for _, count in ipairs {
      "-1", "-9223372036854775808", "18446744073709551616", "18446744073709551619", "1e1", "1.0",
      "0x1", "+1", "%201", "1%20", "1;", "one", "%00", "1%00", "nan", "", ("9"):rep(1000),
      ("0"):rep(1000) .. "x", "1&received=2", "%F0%9F%98%80",
    } do
      local query = ("who=eve&session=%s&received=%s"):format(secret, count)
      local peer, status, _, body = connect(query)
      if peer then
        local value = cjson.decode((peer:receive()))
        assert(not value.resumed or count == "" or count:find("&"), count .. " is a count")
        if value.resumed then
          for _, message in ipairs(peer:receive_many(count == "" and 3 or 1)) do
            assert.matches("^ada ", message)
          end
          peer:drop()
        else
          check_new(peer, value.resumed, value.received)
        end
        secret = session_client.secret()
        leave_one(secret, 3)
      else
        assert.equal(400, status)
        assert.is_true(#body > 10, "a refusal without a sentence")
        assert.is_nil(body:find(secret, 1, true))
      end
    end
  end)

  it("refuses secrets that are none", function()
    local secret = session_client.secret()
    leave_one(secret, 3)
    for _, given in ipairs {
      "", "a", ("a"):rep(15), ("a"):rep(257), ("a"):rep(4000), "%20" .. ("a"):rep(20),
      "%00" .. ("a"):rep(20), secret .. "%00", secret .. "%0d%0aSet-Cookie:%20a", secret .. "/",
      secret .. "+", secret .. "%C3%A4", "%",
    } do
      local peer, status, _, body = connect("who=eve&received=1&session=" .. given)
      if peer then error("accepted: " .. given:sub(1, 60)) end
      assert.equal(400, status)
      assert.is_true(#body > 10, "a refusal without a sentence")
      assert.is_nil(body:find(secret, 1, true))
    end
    check_one(secret, 3)
  end)

  it("takes the last of several secrets", function()
    local hers = session_client.secret()
    leave_one(hers, 3)
    for _, first in ipairs { hers, "", "short", ("a"):rep(500) } do
      check_new(open(("who=eve&received=1&session=%s&session=%s"):format(first,
        session_client.secret())))
    end
    for _, query in ipairs {
      ("session=%s&session="):format(hers), ("session=%s&%%73ession=short"):format(hers),
      ("session=%s,%s"):format(hers, hers), ("session=%s%%26session=%s"):format(hers, hers),
    } do
      local peer, status = connect("who=eve&received=1&" .. query)
      if peer then error("accepted: " .. query) end
      assert.equal(400, status)
    end
    local ada, resumed, received =
      open(("session=%s&received=9&session=%s&received=2"):format(session_client.secret(), hers))
    assert.same({ true, 1 }, { resumed, received })
    assert.equal("ada 3 1", (ada:receive()))
    ada:close(1000)
  end)

  it("goes on after a secret of a megabyte", function()
    local source = require("support.stream").connect(app.addresses[1])
    source:write("GET /?session=" .. ("a"):rep(1 << 20) .. " HTTP/1.1\r\nHost: x\r\n\r\n")
    source:wait_end()
    source:abort()
    local secret = session_client.secret()
    leave_one(secret, 1)
    check_one(secret, 1)
  end)

  it("gives one of many sockets with the same secret the session", function()
    local secret = session_client.secret()
    local count, peers = 20, {}
    for i = 1, count do
      local source = assert(require("support.stream").connect(app.addresses[1]))
      local request, key = client.handshake("/?who=ada&session=" .. secret)
      source:write(request)
      peers[i] = { source = source, key = key }
    end
    local open_ones = {}
    for i, each in ipairs(peers) do
      open_ones[i] = assert(client.attach(each.source, each.key))
    end
    local ends = {}
    assert(loop.wait_until(function()
      for i, peer in ipairs(open_ones) do
        repeat
          local message, kind, code, reason = peer:step()
          if kind == "close" or kind == "end" then ends[i] = { code, reason } end
        until not message
      end
      local ended = 0
      for _ in pairs(ends) do ended = ended + 1 end
      return ended == count - 1
    end), "more than one socket has the session")
    for _, each in pairs(ends) do assert.same({ 4409, "replaced" }, each) end
    -- workers may begin a session each at the same moment: one is left
    local starts = #app:events("start")
    assert.is_true(starts <= app.workers)
    for i, peer in ipairs(open_ones) do
      if not ends[i] then
        peer:send_text("say 1")
        assert.equal("ada 1 1", (peer:receive()))
        peer:close(1000)
      end
    end
    app:wait_event("close", starts)
    assert.equal(starts, #app:events("close"))
  end)

  -- Bytes of the old one wait in the server when its client is gone already, and has come back.
  it("gives no old socket the session of a newer one", function()
    local source = require("support.stream").connect(app.addresses[1])
    local secret = session_client.secret()
    local request = client.handshake("/slow?who=ada&session=" .. secret)
    source:write(request:sub(1, -2))
    local ada = open("who=ada&session=" .. secret, "/slow")
    ada:send_text("hang")
    app:wait_event("hangs")
    source:write(request:sub(-1))
    assert.is_true(source:flush())
    source:close()
    process.write_file(app.directory .. "/go_on", "")
    app:wait_event("validate", 2)
    for _ = 1, 20 do assert.equal("hang", (ada:ask("hang"))) end
    assert.equal(0, #app:events("away"))
    ada:close(1000)
  end)

  it("ignores acknowledgements that are wrong", function()
    local secret = session_client.secret()
    leave_one(secret, 5, "/json")
    local ada, resumed = open("session=" .. secret .. "&received=3", "/json")
    assert.is_true(resumed)
    ada:receive_many(2)
    for _, count in ipairs {
      "6", "1000", "9223372036854775807", "-1", "2", "0", "1.5", "4.5", "1e300", "null", "true",
      "\"4\"", "[4]", "{}",
    } do
      for _, kind in ipairs { "ping", "pong" } do
        ada:send_text(('{"type":"%s","pingId":1,"received":%s}'):format(kind, count))
      end
    end
    ada:send_text('{"text":"say 1"}')
    local answer
    repeat answer = cjson.decode((ada:receive())) until answer.text
    assert.equal("ada 6 2", answer.text)
    ada:drop()
    app:wait_event("away", 2)
    local again, value = open("session=" .. secret .. "&received=3", "/json")
    assert.is_true(value)
    for number = 4, 6 do
      assert.equal("ada " .. number .. (number == 6 and " 2" or " 1"),
        cjson.decode((again:receive())).text)
    end
    again:close(1000)
  end)

  it("gives a new session where what was acknowledged is asked for again", function()
    local secret = session_client.secret()
    leave_one(secret, 5, "/json")
    local ada = open("session=" .. secret .. "&received=3", "/json")
    ada:receive_many(2)
    ada:send_text('{"type":"pong","pingId":1,"received":5}')
    ada:send_text('{"type":"ping","pingId":1}')
    ada:receive()
    ada:drop()
    app:wait_event("away", 2)
    local _, resumed, received = open("who=eve&session=" .. secret .. "&received=4", "/json")
    assert.same({ false, 0 }, { resumed, received })
    assert.equal("ada", app:wait_event("close")[3])
  end)

  it("takes a session message of a client as any message", function()
    local ada = open("who=ada&session=" .. session_client.secret())
    ada:send_text('{"type":"session","resumed":true,"received":1000}')
    assert.equal("ada 1 1", (ada:receive()))
    ada:close(1000)
  end)

  -- A session message that was lost: the counts are still those of a session that is no more.
  it("does not take counts of an earlier session for those of this one", function()
    local secret = session_client.secret()
    leave_one(secret, 3)
    app:kill()
    local say = "for i = 1, 4 do conn:send('hello ' .. i) end"
    app = server.start { app = (APP:gsub('record%("start"', say .. " %0")) }
    local lost = connect("who=ada&received=3&session=" .. secret) -- it does not read
    app:wait_event("start")
    lost:abort()
    app:wait_event("away")
    local ada, resumed = open("who=ada&received=3&session=" .. secret)
    assert.is_false(resumed)
    assert.equal("hello 1", (ada:receive()))
  end)

  it("resumes a new session whose client has said something", function()
    local secret = session_client.secret()
    local ada = open("who=ada&received=3&session=" .. secret)
    ada:send_text("say 3")
    ada:receive_many(3)
    ada:drop()
    app:wait_event("away")
    local again, resumed, received = open("who=ada&received=3&session=" .. secret)
    assert.same({ true, 1 }, { resumed, received })
    again:close(1000)
  end)

  -- The PONG that every client sends by itself says that the session message has come.
  it("resumes a new session whose client is silent", function()
    local secret = session_client.secret()
    local ada = open("received=3&session=" .. secret, "/greets")
    ada:receive_many(3)
    ada:drop()
    app:wait_event("away")
    local again, resumed, received = open("received=3&session=" .. secret, "/greets")
    assert.same({ true, 0 }, { resumed, received })
    again:close(1000)
  end)

  it("begins anew after the client has closed with 1000", function()
    local secret = session_client.secret()
    local ada = open("who=ada&session=" .. secret)
    ada:send_text("say 2")
    ada:receive_many(2)
    assert.equal(1000, (ada:close(1000)))
    app:wait_event("close")
    check_new(open("who=eve&received=1&session=" .. secret))
    assert.equal(0, #app:events("away"))
  end)

  it("writes no secret into its log", function()
    local secret = session_client.secret(40)
    leave_one(secret, 3)
    connect("session=" .. secret .. "%20")
    connect("session=" .. secret, "/nowhere")
    check_one(secret, 3)
    open("received=x&session=" .. secret)
    app:wait_event("close")
    open("who=eve&received=99&session=" .. secret, "/other"):close(1000)
    app:wait_event("close", 3)
    assert.is_nil(app:log():find(secret, 1, true))
    assert.is_nil(app:log():find(secret:sub(1, 16), 1, true))
  end)
end)
