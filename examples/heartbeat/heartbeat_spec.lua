-- heartbeat_spec.lua -- the heartbeat example: latencies by PING frames and by JSON, and its
-- periods in development and production.

local cjson = require "cjson"
local server = require "support.server"
local stream = require "support.stream"

local PATH = require("luv").cwd() .. "/examples/heartbeat/app.lua"

describe("examples/heartbeat", function()
  local app

  -- Shorter periods than the example's own; the environment is stronger than the app.
  lazy_setup(function()
    app = server.start({
      app_path = PATH, environment = { TIDEWIRE_PING_PERIOD = "0.1", TIDEWIRE_PONG_PERIOD = "5" },
    })
  end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function assert_latency(message)
    assert.equal("latency", message.type)
    assert.is_true(message.ms >= 0 and message.ms < 10000)
    assert.is_true(message.slowest_ms >= message.ms)
  end

  it("sends a client that answers PING frames its latency", function()
    local ada = app:connect("/frames")
    assert_latency(cjson.decode((ada:receive())))
    assert.is_true(#ada.pings > 0)
    ada:close(1000)
    assert.is_truthy(app:wait_for_log('"a client has left".* code=1000 slowest_ms=%d'))
  end)

  it("numbers JSON pings, and accepts the pongs of the client's script", function()
    local ada = app:connect("/json")
    for number = 1, 2 do
      local ping = cjson.decode((ada:receive()))
      assert.same({ type = "ping", pingId = number, name = "/json", connId = ping.connId }, ping)
    end
    local message
    repeat -- (a ping may be on its way while the one before is answered)
      message = cjson.decode((ada:receive()))
      if message.type == "ping" then
        ada:send_text(cjson.encode({ type = "pong", pingId = message.pingId }))
      end
    until message.type ~= "ping"
    assert_latency(message)
    assert.equal(0, #ada.pings)
  end)

  it("answers a client's JSON ping", function()
    local ada = app:connect("/json")
    ada:send_text('{"type":"ping","pingId":7}')
    local answer
    repeat answer = cjson.decode((ada:receive())) until answer.type == "pong"
    assert.equal(7, answer.pingId)
  end)

  it("closes a client that answers nothing", function()
    local ada = app:connect("/frames")
    ada.auto_pong = false
    assert.equal(4408, (ada:wait_closed()))
  end)

  it("has longer periods in production", function()
    for environment, periods in pairs({
      development = "ping_period=2 pong_period=10",
      production = "ping_period=30 pong_period=60",
    }) do
      local other <close> = server.start({ app_path = PATH, environment = { ENV = environment } })
      assert.is_truthy(other:wait_for_log("message=heartbeat " .. periods), other:log())
    end
  end)
end)
