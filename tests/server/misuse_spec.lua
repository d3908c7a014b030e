-- misuse_spec.lua -- messages for misuse by scripts, as on_error gets them from the program.

local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local chunks = require "chunks"
local tw = require "tidewire"
local function handler(codec)
  return {
    codec = codec,
    on_start = function(conn) if conn.query.name then conn.name = conn.query.name end end,
    handle_message = function(conn, code) conn:send(chunks.run(code, { conn = conn, tw = tw })) end,
    on_error = function(conn, err)
      if err.hook == "on_start" then return tw.log.error(err.message) end
      conn:send("= " .. err.message)
    end,
  }
end
return { endpoints = {
  ["/text"] = handler("text"), ["/json"] = handler("json"),
  ["/field"] = { validate = function(request) return { [request.query.field] = "mine" } end },
} }
]]

describe("a mistake", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function message_of(path, code)
    local answer = app:connect(path):ask(path == "/json" and ("%q"):format(code) or code)
    return (answer:gsub('^"(.*)"$', "%1"):gsub('\\"', '"'):gsub("^= ", ""))
  end

  it("in a name is reported with a suggestion", function()
    for code, expected in pairs {
      ['conn:snd("x")'] =
        "code:1: attempt to call a nil value (method 'snd'); did you mean conn:send?",
      ['tw.brodcast("x")'] =
        "code:1: attempt to call a nil value (field 'brodcast'); did you mean tw.broadcast?",
      ['tw.shared("s"):put("x")'] =
        "code:1: attempt to call a nil value (method 'put'); did you mean store:set?",
      ['tw.room("x"):watch(print):cancl()'] =
        "code:1: attempt to call a nil value (method 'cancl'); did you mean watch:cancel?",
    } do
      assert.equal(expected, message_of("/text", code))
    end
  end)

  it("in a name is reported in callbacks of luv's, too", function()
    assert.equal("", message_of("/text", [[
      local timer = require("luv").new_timer()
      timer:start(0, 0, function() timer:close() conn:clsoe() end)]]))
    assert.is_truthy(app:wait_for_log "method 'clsoe'%); did you mean conn:close%?")
  end)

  it("of a dot for a colon, or a colon for a dot, is reported", function()
    for code, expected in pairs {
      ['tw:broadcast("x")'] = "code:1: tw.broadcast: call it with a dot, tw.broadcast(…)",
      ['conn.send("x")'] = "code:1: send: call it with a colon, conn:send(value)",
      ['tw.room("x").broadcast("x")'] =
        "code:1: room:broadcast: call it with a colon, room:broadcast(…)",
      ["conn.close()"] = "code:1: conn:close: call it with a colon, conn:close(…)",
    } do
      assert.equal(expected, message_of("/text", code))
    end
  end)

  it("in a sent value is reported with the possible types", function()
    for code, expected in pairs {
      ["conn:send(conn)"] = "code:1: send: value is a connection; send its id, conn.id",
      ['conn:send({ to = { tw.room("x") } })'] =
        "code:1: send: value.to[1] is a room; send its name, room.name",
      ['tw.broadcast({ conn }, { endpoint = "/json" })'] =
        "code:1: tw.broadcast: value[1] is a connection; send its id, conn.id",
    } do
      assert.equal(expected, message_of("/json", code))
    end
    assert.equal("code:1: send: a string is needed, got a connection; send its id, conn.id",
      message_of("/text", "conn:send(conn)"))
  end)

  it("that would hide a connection's fields is reported, in validate and in on_start", function()
    local response = app:http { path = "/field?field=id",
      headers = { Connection = "Upgrade", Upgrade = "websocket",
      ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ==", ["Sec-WebSocket-Version"] = "13" } }
    assert.equal(500, response.status)
    assert.is_truthy(app:wait_for_log 'validate returned .*id.*, which every connection has itself')
    assert.equal(1011, (app:connect("/text?name=ada"):wait_closed()))
    assert.is_truthy(
      app:wait_for_log "conn.name cannot be set: every connection has this field itself")
  end)
end)
