-- resilient_spec.lua -- the resilient example: it closes after some errors, and asks a silent
-- client before it closes.

local cjson = require "cjson"
local server = require "support.server"
local stream = require "support.stream"

local PATH = require("luv").cwd() .. "/examples/resilient/app.lua"

local function ask(peer, text)
  return cjson.decode((peer:ask(text)))
end

describe("examples/resilient", function()
  local app

  lazy_setup(function() app = server.start({ app_path = PATH }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  it("keeps the connection after errors and counts them", function()
    local ada = app:connect()
    assert.same({ type = "error", error = "this is not JSON", left = 2 },
      ask(ada, "this is not JSON"))
    assert.same({ type = "error", error = "something went wrong here", left = 1 },
      ask(ada, '{"type":"fail"}'))
    assert.same({ type = "ok", errors = 2 }, ask(ada, '{"type":"hello"}'))
    assert.is_truthy(app:wait_for_log("app%.lua:%d+: as you wish"))
  end)

  it("closes after too many, with its own code", function()
    local ada = app:connect()
    for left = 2, 0, -1 do assert.equal(left, ask(ada, "{").left) end
    local code, reason = ada:wait_closed()
    assert.same({ 4001, "too many errors" }, { code, reason })
  end)
end)

describe("examples/resilient, with less patience", function()
  local app

  -- The environment is stronger than the app.
  lazy_setup(function()
    app = server.start({ app_path = PATH, environment = { TIDEWIRE_PONG_PERIOD = "3" } })
  end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  it("asks a silent client, and keeps it if it answers", function()
    local ada = app:connect()
    for _ = 1, 2 do
      assert.equal("question", cjson.decode((ada:receive())).type)
      assert.equal("ok", ask(ada, '{"type":"hello"}').type)
    end
  end)

  it("closes a client that does not answer, after a goodbye", function()
    local ada = app:connect()
    assert.equal("question", cjson.decode((ada:receive())).type)
    assert.equal("goodbye", cjson.decode((ada:receive())).type)
    assert.equal(4408, (ada:wait_closed()))
  end)
end)
