-- json_echo_spec.lua -- the json_echo example: the fields of an answer, and unchanged values.

local cjson = require "cjson"
local server = require "support.server"
local stream = require "support.stream"

describe("examples/json_echo", function()
  local app

  lazy_setup(function()
    app = server.start({ app_path = require("luv").cwd() .. "/examples/json_echo/app.lua" })
  end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function ask(peer, text)
    return cjson.decode((peer:ask(text)))
  end

  it("answers with the message, its number, the time and the connection's id", function()
    local ada = app:connect()
    local answer = ask(ada, '{"type":"greeting","data":"hello"}')
    assert.equal("echo", answer.type)
    assert.same({ type = "greeting", data = "hello" }, answer.originalMsg)
    assert.equal(1, answer.messageCount)
    assert.is_true(math.abs(answer.timestamp - os.time()) < 60)
    assert.is_truthy(#answer.connId > 0)
    assert.equal(2, ask(ada, "{}").messageCount)
  end)

  it("counts each connection by itself", function()
    local ada, bob = app:connect(), app:connect()
    local first = ask(ada, "1")
    local other = ask(bob, "1")
    assert.equal(1, other.messageCount)
    assert.not_equal(first.connId, other.connId)
  end)

  it("keeps integers, null and empty arrays as they were", function()
    local text = app:connect():ask('{"data":[1, 1.5, 9007199254740993, null, []]}')
    assert.is_truthy(text:find('"data":[1,1.5,9007199254740993,null,[]]', 1, true), text)
  end)
end)
