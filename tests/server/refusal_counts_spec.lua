-- refusal_counts_spec.lua -- /metrics and /stats count refusals and closes by reason and endpoint.

local cjson = require "cjson"
local client = require "support.client"
local frames = require "support.frames"
local http = require "support.http"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
  local function echo(conn, message) conn:send(message) end
  return {
    limits = { LIMITS },
    defaults = { ping_period = 0, handle_message = echo },
    endpoints = {
      ["/echo"] = { max_message_size = 100, max_fragments = 2 },
      ["/full"] = { max_connections = 1 },
      ["/origin"] = { origins = { "https://example.com" } },
      ["/protocol"] = { subprotocols = { "v1" } },
      ["/who/:name"] = { validate = function() return nil, 401 end },
      ["/private"] = { validate = function() return nil, 4403, "no" end },
      ["/broken"] = { validate = function() error("broken") end },
      ["/rate"] = { rate = { messages = 2, per = 3600 } },
      ["/drop"] = { rate = { messages = 2, per = 3600, action = "drop" } },
      ["/pause"] = { rate = { messages = 2, per = 3600, action = "pause" } },
      ["/json"] = { codec = "json" },
      ["/script"] = { handle_message = function(conn) conn:close(1008, "a client's own text") end },
    },
    http = { ["/hello"] = function() return "hello" end },
  }
]]

describe("refusals and closes are counted", function()
  local app

  local function start(limits)
    app = server.start({
      app = (APP:gsub("LIMITS", limits or "")), options = { "--admin", "127.0.0.1:0" },
    })
  end
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  -- The samples of a family, as { [labels] = value }.
  local function samples(family)
    local found = {}
    local body = http.request(app.admin, "/metrics").body
    assert.is_truthy(body:find("# TYPE tidewire_" .. family .. " counter\n", 1, true))
    for labels, value in body:gmatch("\ntidewire_" .. family .. "(%b{}) (%d+)") do
      found[labels] = tonumber(value)
    end
    return found
  end

  local function refused(path, options)
    local none, status = client.connect(app:url(path), options)
    assert.is_nil(none)
    return status
  end

  it("for handshakes, with the pattern of the endpoint", function()
    start()
    app:connect("/full")
    for _ = 1, 2 do assert.equal(503, refused("/full")) end
    assert.equal(403, refused("/origin", { origin = "https://evil.example" }))
    assert.equal(400, refused("/protocol", { subprotocols = { "v2" } }))
    for name = 1, 3 do assert.equal(401, refused("/who/" .. name)) end
    assert.equal(500, refused("/broken"))
    for number = 1, 5 do assert.equal(404, refused("/nowhere/" .. number)) end
    assert.equal(426, refused("/echo", { headers = { ["Sec-WebSocket-Version"] = "8" } }))
    assert.equal(4403, (app:connect("/private"):wait_closed()))
    assert.same({
      ['{reason="max_connections",status="503",endpoint="/full"}'] = 2,
      ['{reason="origins",status="403",endpoint="/origin"}'] = 1,
      ['{reason="subprotocols",status="400",endpoint="/protocol"}'] = 1,
      ['{reason="validate",status="401",endpoint="/who/:name"}'] = 3,
      ['{reason="script_error",status="500",endpoint="/broken"}'] = 1,
      ['{reason="not_found",status="404",endpoint=""}'] = 5,
      ['{reason="upgrade_required",status="426",endpoint="/echo"}'] = 1,
      ['{reason="validate",status="4403",endpoint="/private"}'] = 1,
    }, samples "refused_total")
  end)

  it("for limits on one address, before a script is asked", function()
    start("per_address = 1")
    local ada = app:connect("/echo")
    assert.equal(429, refused("/echo"))
    assert.equal(429, refused("/nowhere"))
    ada:drop()
    assert.same({
      ['{reason="per_address",status="429",endpoint="/echo"}'] = 1,
      ['{reason="per_address",status="429",endpoint=""}'] = 1,
    }, samples "refused_total")
  end)

  it("for rates of one address", function()
    start("connection_rate = { connections = 3, per = 3600 }, request_rate = { requests = 1, "
      .. "per = 3600 }")
    assert.equal(200, app:http("/hello").status)
    assert.equal(429, app:http("/hello").status)
    app:connect("/echo")
    assert.equal(429, refused("/echo"))
    assert.same({
      ['{reason="request_rate",status="429",endpoint=""}'] = 1,
      ['{reason="connection_rate",status="429",endpoint="/echo"}'] = 1,
    }, samples "refused_total")
  end)

  it("for closes by the server, by its reasons; a script's texts are no labels", function()
    start()
    local function closes(path, frame, code)
      local ada = app:connect(path)
      ada:send_raw(frame)
      assert.equal(code, (ada:wait_closed()))
    end
    closes("/echo", frames.encode({ payload = ("x"):rep(101) }), 1009)
    closes("/echo", frames.encode({ payload = "\xff" }), 1007)
    closes("/echo", frames.encode({ opcode = 3 }), 1002)
    closes("/echo", frames.encode({ payload = "a", fin = false })
      .. frames.encode({ opcode = 0, payload = "b", fin = false }):rep(2), 1008)
    for _ = 1, 2 do closes("/rate", frames.encode({ payload = "x" }):rep(3), 1008) end
    closes("/json", frames.encode({ payload = "{" }), 1007)
    closes("/script", frames.encode({ payload = "x" }), 1008)
    closes("/echo", frames.encode({ opcode = "ping" }):rep(2000), 1008)
    local found = samples "closed_total"
    for labels, count in pairs {
      ['{reason="text_is_not_valid_utf_8",code="1007",endpoint="/echo"}'] = 1,
      ['{reason="too_many_fragments",code="1008",endpoint="/echo"}'] = 1,
      ['{reason="rate_limit",code="1008",endpoint="/rate"}'] = 2,
      ['{reason="message_could_not_be_decoded",code="1007",endpoint="/json"}'] = 1,
      ['{reason="script",code="1008",endpoint="/script"}'] = 1,
      ['{reason="too_many_control_frames",code="1008",endpoint="/echo"}'] = 1,
    } do
      assert.equal(count, found[labels], labels)
      found[labels] = nil
    end
    local codes = {}
    for labels in pairs(found) do
      codes[#codes + 1] = labels:match('code="(%d+)",endpoint="/echo"')
    end
    table.sort(codes)
    assert.same({ "1002", "1009" }, codes)
    assert.matches("by=server code=1008 why=\"rate limit\" endpoint=/rate",
      app:wait_for_log("event=closed .-rate limit"))
  end)

  it("for messages above a rate, by its action", function()
    start()
    local text = frames.encode({ payload = "x", key = "\0\0\0\0" })
    local ada, bob, cid = app:connect("/drop"), app:connect("/pause"), app:connect("/rate")
    ada:send_raw(text:rep(1000))
    bob:send_raw(text:rep(10))
    cid:send_raw(text:rep(3))
    cid:wait_closed()
    bob:receive_many(2)
    ada:send_ping()
    ada:wait_pings(1, nil, "pongs")
    local expected = {
      ['{action="drop",endpoint="/drop"}'] = 998, ['{action="pause",endpoint="/pause"}'] = 1,
      ['{action="close",endpoint="/rate"}'] = 1,
    }
    loop.wait_until(function() return samples("rate_limited_total")[next(expected)] end)
    assert.same(expected, samples "rate_limited_total")
  end)

  it("in /stats too", function()
    start()
    assert.equal(401, refused("/who/ada"))
    local ada = app:connect("/rate")
    ada:send_raw(frames.encode({ payload = "x" }):rep(3))
    ada:wait_closed()
    local stats = cjson.decode(http.request(app.admin, "/stats").body)
    assert.same({ { reason = "validate", status = 401, endpoint = "/who/:name", count = 1 } },
      stats.refused)
    assert.same({ { reason = "rate_limit", code = 1008, endpoint = "/rate", count = 1 } },
      stats.closed)
    assert.same({ { action = "close", endpoint = "/rate", count = 1 } }, stats.rate_limited)
  end)
end)
