-- echo_spec.lua -- a client's messages come back, in JSON, as text and as bytes, to the right
-- client, whole and unchanged.

local cjson = require "cjson"
local server = require "support.server"
local stream = require "support.stream"

-- (client.ask returns the kind as well, which cjson.decode takes for an argument too many)
local function decode(text) return cjson.decode(text) end

local JSON_ECHO = [[
return {
  codec = "json",
  on_start = function(conn) conn.count = 0 end,
  handle_message = function(conn, message)
    conn.count = conn.count + 1
    conn:send({
      type = "echo", originalMsg = message, messageCount = conn.count,
      timestamp = os.time(), connId = conn.id,
    })
  end,
}
]]

describe("a JSON echo", function()
  local app

  lazy_setup(function() app = server.start({ app = JSON_ECHO }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  it("answers with the message, a count, a time and the connection's id", function()
    local ada = app:connect()
    local text, kind = ada:ask('{"type":"greeting","data":"hello"}')
    local answer = decode(text)
    assert.equal("text", kind)
    assert.equal("echo", answer.type)
    assert.same({ type = "greeting", data = "hello" }, answer.originalMsg)
    assert.equal(1, answer.messageCount)
    assert.is_true(math.abs(answer.timestamp - os.time()) < 60)
    assert.is_string(answer.connId)
    assert.is_true(#answer.connId > 0)
  end)

  it("counts for each connection by itself, under an id that stays", function()
    local ada, bob = app:connect(), app:connect()
    local first = decode(ada:ask('{"data":1}'))
    local second = decode(ada:ask('{"data":2}'))
    local other = decode(bob:ask('{"data":3}'))
    assert.equal(2, second.messageCount)
    assert.equal(1, other.messageCount)
    assert.equal(first.connId, second.connId)
    assert.not_equal(first.connId, other.connId)
  end)

  it("keeps every value: integers of any size, text, null, nested and empty tables", function()
    local ada = app:connect()
    for _, value in ipairs({
      "1", "0", "-7", "9007199254740993", "9223372036854775807", "-9223372036854775808",
      "1.5", "true", "false", '""', '"caf\\u00e9 \\ud83d\\ude80"', "null", "[]", "{}",
      "[1,[2,[]],{}]",
    }) do
      local text = ada:ask('{"data":' .. value .. "}")
      local expected = value:gsub("\\u00e9", "é"):gsub("\\ud83d\\ude80", "🚀")
      assert.is_truthy(text:find('"data":' .. expected .. "}", 1, true),
        value .. " came back in " .. text)
    end
  end)
end)

describe("an echo of text and bytes", function()
  local app

  lazy_setup(function()
    app = server.start({ app = [[
      return { handle_message = function(conn, message, kind) conn:send(message, kind) end }
    ]] })
  end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  it("gives messages of every length back, each in its kind", function()
    local ada = app:connect()
    for _, length in ipairs({
      0, 1, 125, 126, 127, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20,
    }) do
      local text = ("0123456789abcdef"):rep(length // 16 + 1):sub(1, length)
      local answer, kind = ada:ask(text)
      assert.equal("text", kind)
      assert.is_true(answer == text, length .. " bytes of text came back changed")
      local bytes = text:gsub("0", "\0"):gsub("1", "\xff")
      ada:send_binary(bytes)
      answer, kind = ada:receive()
      assert.equal("binary", kind)
      assert.is_true(answer == bytes, length .. " bytes came back changed")
    end
  end)

  it("keeps the order of many messages sent at once", function()
    local ada = app:connect()
    for number = 1, 2000 do ada:send_text("message " .. number) end
    for number, message in ipairs(ada:receive_many(2000)) do
      assert.equal("message " .. number, message)
    end
  end)

  it("answers on every path, as a handler without endpoints does", function()
    for _, path in ipairs({ "/", "/chat", "/a/b/c?x=1", "/caf%C3%A9" }) do
      assert.equal("hi", (app:connect(path):ask("hi")))
    end
  end)

  it("keeps many clients apart", function()
    local clients = {}
    for index = 1, 50 do clients[index] = app:connect() end
    for round = 1, 5 do
      for index, each in ipairs(clients) do each:send_text(index .. "/" .. round) end
    end
    for index, each in ipairs(clients) do
      for round = 1, 5 do assert.equal(index .. "/" .. round, (each:receive())) end
    end
  end)
end)
