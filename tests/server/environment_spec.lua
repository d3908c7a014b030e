-- environment_spec.lua -- one app file for development and production: os.getenv, the TIDEWIRE_…
-- variables, and which of command line, environment, app and defaults wins.

local client = require "support.client"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local record = require "record"
local production = os.getenv("ENV") == "production"
record("loaded", production)
return {
  defaults = {
    ping_period = production and 0.4 or 0.1,
    pong_period = production and 60 or 30,
    origins = production and { "https://app.example.com" } or nil,
  },
  endpoints = {
    ["/"]      = { handle_message = function(conn, message) conn:send(message) end },
    ["/never"] = { ping_period = 0 },
  },
}
]]

describe("an app that reads its environment", function()
  after_each(stream.close_all)

  it("has one set of periods and origins in development", function()
    local app <close> = server.start({ app = APP, environment = { ENV = "development" } })
    assert.is_false(app:wait_event("loaded")[2])
    local ada = app:connect("/", { origin = "http://localhost:3000" })
    local ada_quiet = app:connect("/never")
    assert.is_true(ada:wait_pings(3))
    assert.is_true(ada_quiet:is_silent(0.2))
    assert.equal(0, #ada_quiet.pings)
  end)

  it("has another in production", function()
    local app <close> = server.start({ app = APP, environment = { ENV = "production" } })
    assert.is_true(app:wait_event("loaded")[2])
    local none, status = client.connect(app:url("/"), { origin = "http://localhost:3000" })
    assert.same({ nil, 403 }, { none, status })
    local before = loop.now()
    local ada = app:connect("/", { origin = "https://app.example.com" })
    -- the second cannot come before two periods are over, however slow we are
    assert.is_true(ada:wait_pings(2))
    assert.is_true(loop.now() - before > 0.45, "the development period")
  end)
end)

describe("settings", function()
  after_each(stream.close_all)

  local LISTENING = [[
    return {
      listen = { "127.0.0.1:0", "127.0.0.1:0" },
      endpoints = { ["/"] = { handle_message = function(conn, message) conn:send(message) end } },
    }
  ]]

  it("come from the app where nothing else names them", function()
    local app <close> = server.start({ app = LISTENING, listen = {} })
    assert.equal(2, #app.addresses)
    assert.equal("x", (app:connect("/"):ask("x")))
  end)

  it("of the environment are stronger than the app's", function()
    local app <close> = server.start({
      app = LISTENING,
      listen = {},
      environment = { TIDEWIRE_LISTEN = "127.0.0.1:0" },
    })
    assert.equal(1, #app.addresses)
    assert.equal("x", (app:connect("/"):ask("x")))
  end)

  it("of the environment may be several addresses", function()
    local app <close> = server.start({
      app = LISTENING,
      listen = {},
      environment = { TIDEWIRE_LISTEN = "127.0.0.1:0,127.0.0.1:0,[::1]:0" },
    })
    assert.equal(3, #app.addresses)
    assert.equal("::1", app.addresses[3].host)
  end)

  it("of the command line are stronger than the environment's", function()
    local app <close> = server.start({
      app = LISTENING,
      listen = { "[::1]:0" },
      environment = { TIDEWIRE_LISTEN = "127.0.0.1:0" },
    })
    assert.equal(1, #app.addresses)
    assert.equal("::1", app.addresses[1].host)
  end)

  it("of the log can come from the environment", function()
    local app <close> =
      server.start({ app = LISTENING, environment = { TIDEWIRE_LOG_FORMAT = "json" } })
    assert.is_truthy(app:log():find('"event":"ready"', 1, true))
  end)

  it("of the environment that are wrong are named, and the start fails", function()
    for name, value in pairs({
      TIDEWIRE_LISTEN = "nowhere", TIDEWIRE_LOG_LEVEL = "loud", TIDEWIRE_WORKERS = "many",
      TIDEWIRE_LOG_FORMAT = "xml",
    }) do
      local app = server.launch({ app = LISTENING, listen = {}, environment = { [name] = value } })
      local code = app.process:wait_exit()
      local log = app:log()
      app:kill()
      assert.equal(2, code, name)
      assert.is_truthy(log:find(name, 1, true), log)
      assert.is_truthy(log:find(value, 1, true), log)
    end
  end)
end)
