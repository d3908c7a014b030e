-- tw_spec.lua -- `require "tidewire"` beside time and waiting: statistics, version, worker, JSON;
-- and clear errors for misuse.

local cjson = require "cjson"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local here = require "here"
local tw = require "tidewire"
return {
  endpoints = {
    ["/"] = {
      ping_period = 0,
      handle_message = function(conn, message)
        if message == "throw" then error("on request") end
        conn:send(message)
      end,
      on_error = function() return false end,
    },
  },
  http = {
    ["/stats"] = function() return { body = tw.json.encode(tw.stats()) } end,
    ["/about"] = here.route(function()
      return { body = tw.json.encode({ version = tw.version, worker = tw.worker }) }
    end),
    ["/json"]  = function()
      local value = tw.json.decode('{"whole":1,"half":0.5,"none":null,"list":[]}')
      local broken, why = tw.json.decode("{")
      return tw.json.encode({
        kinds = { math.type(value.whole), math.type(value.half) },
        null = value.none == tw.null, list = value.list, broken = broken or false, why = why,
      })
    end,
  },
}
]]

describe("tw", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function get(path)
    local response = app:http(path)
    assert.equal(200, response.status, app:log():sub(-500))
    return cjson.decode(response.body)
  end

  it("counts in tw.stats() what has happened", function()
    local before = get("/stats")
    local ada, bob = app:connect(), app:connect()
    for _ = 1, 10 do assert.equal("hello", (ada:ask("hello"))) end
    ada:send_text("throw")
    assert.equal("after", (ada:ask("after"))) -- bob may be on another worker
    assert.equal("x", (bob:ask("x")))
    local after = get("/stats")
    assert.equal(2, after.connections - before.connections)
    assert.equal(2, after.total_connections - before.total_connections)
    assert.is_true(after.max_connections >= 2)
    assert.equal(1, after.script_errors - before.script_errors)
    assert.is_true(after.uptime >= before.uptime)
    assert.equal(13, after.messages_received - before.messages_received)
    assert.equal(12, after.messages_sent - before.messages_sent)
    assert.equal(10 * #"hello" + #"throw" + #"after" + #"x",
      after.bytes_received - before.bytes_received)
    assert.is_true(after.bytes_sent - before.bytes_sent >= 10 * #"hello" + #"x")
  end)

  it("knows the version and the worker", function()
    for worker = 0, app.workers - 1 do
      local about = cjson.decode(app:http_on(worker, "/about").body)
      assert.is_truthy(about.version:find("^%d+%.%d+%.%d+"))
      local result = server.run({ "--version" })
      assert.is_truthy(result.stdout:find(about.version, 1, true))
      assert.equal(worker, about.worker)
    end
  end)

  it("has JSON with integers, null and arrays", function()
    local answer = get("/json")
    assert.same({ "integer", "float" }, answer.kinds)
    assert.is_true(answer.null)
    assert.is_truthy(app:http("/json").body:find('"list":[]', 1, true))
    assert.is_false(answer.broken)
    assert.is_string(answer.why)
  end)
end)
