-- socket_pool_spec.lua -- kept connections: setkeepalive, pools, and what is not used again.

local cjson = require "cjson"
local loop = require "support.loop"
local peer = require "support.peer"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"

local APP = [[
local tw = require "tidewire"
local socket = require "socket"

local function texts(...)
  local list = tw.array()
  for i = 1, select("#", ...) do list[i] = tostring((select(i, ...))) end
  return list
end

return {
  limits = { outgoing_sockets = 8 },
  endpoints = { ["/"] = {
    codec = "json",
    handle_message = function(conn, source)
      local f = assert(load(source, "=run", "t", setmetatable({ tw = tw, socket = socket },
        { __index = _G })))
      conn:send(texts(select(2, xpcall(f, function(err) return tostring(err) end))))
    end,
  } },
}
]]

describe("a kept connection", function()
  local app, ada, other

  before_each(function()
    other = peer.start()
    app = server.start({ app = APP })
    ada = app:connect("/")
  end)

  after_each(function()
    app:stop()
    other:stop()
  end)

  local function run(source)
    source = source:gsub("%$PORT", tostring(other.port))
    return cjson.decode((ada:ask(cjson.encode(source), 60)))
  end

  it("is used by the next connect with its pool, and by no other", function()
    assert.are.same({ "0", "1", "1", "again", "2", "0", "0" }, run [[
      local options = { pool = "words" }
      local a = tw.socket.connect("127.0.0.1", $PORT, options)
      local first = a:getreusedtimes()
      local kept = a:setkeepalive()
      local b = tw.socket.connect("127.0.0.1", $PORT, options)
      local second = b:getreusedtimes()
      b:send("say again\\n\n")
      local line = b:receive()
      b:setkeepalive()
      local c = socket.tcp()
      c:connect("127.0.0.1", $PORT, options)
      local third = c:getreusedtimes()
      c:setkeepalive()
      local d = tw.socket.connect("127.0.0.1", $PORT, { pool = "others" })
      local e = socket.connect("127.0.0.1", $PORT)
      return first, kept, second, line, third, d:getreusedtimes(), e:getreusedtimes()]])
  end)

  it("is looked for without a name by sockets of tw.socket.tcp only", function()
    assert.are.same({ "1", "0" }, run [[
      local a = tw.socket.tcp()
      a:connect("127.0.0.1", $PORT)
      a:setkeepalive(10, 5)
      local b = tw.socket.tcp()
      b:connect("127.0.0.1", $PORT)
      local times = b:getreusedtimes()
      b:setkeepalive()
      local c = socket.tcp()
      c:connect("127.0.0.1", $PORT)
      return times, c:getreusedtimes()]])
  end)

  it("is closed for its owner", function()
    assert.are.same({ "closed", "closed", "-1", "nil", "closed" }, run [[
      local a = tw.socket.connect("127.0.0.1", $PORT, { pool = "p" })
      a:setkeepalive()
      return select(2, a:receive()), select(2, a:send("x")), a:getfd(), a:setkeepalive()]])
  end)

  it("can be connected anew by its owner", function()
    assert.are.same({ "1", "yes", "1" }, run [[
      local a = socket.tcp()
      a:connect("127.0.0.1", $PORT, { pool = "p" })
      a:setkeepalive()
      local ok = a:connect("127.0.0.1", $PORT, { pool = "p" })
      a:send("say yes\\n\n")
      return ok, (a:receive()), a:getreusedtimes()]])
  end)

  it("is not kept while bytes wait or a task does", function()
    local list = run [[
      local a = tw.socket.connect("127.0.0.1", $PORT, { pool = "p" })
      a:send("say rest\\n\n")
      tw.sleep(0.1)
      local _, unread = a:setkeepalive()
      a:receive()
      tw.spawn(function() a:receive() end)
      tw.sleep(0)
      local _, waits = a:setkeepalive()
      a:close()
      return unread, waits, select(2, a:setkeepalive())]]
    assert.matches("^the connection is in use", list[1])
    assert.matches("^the connection is in use", list[2])
    assert.are.equal("closed", list[3])
  end)

  it("is closed when the other side closes it or sends anything", function()
    for _, command in ipairs { "close", "say surprise", "reset" } do
      run([[
        local a = tw.socket.connect("127.0.0.1", $PORT, { pool = "p" })
        a:send("say ok\\n\n")
        a:receive()
        a:setkeepalive()]])
      local connection = other.connections[#other.connections]
      assert.are.equal("1", run("return tw.stats().cosockets_kept")[1])
      if command == "say surprise" then
        connection.handle:write("surprise")
      elseif command == "close" then
        connection:close()
      else
        connection.is_closed = true
        connection.handle:close_reset()
      end
      loop.ask_until(function() return run("return tw.stats().cosockets_kept")[1] end, "0")
      assert.are.same({ "0", "0" }, run("return tw.stats().cosockets_kept, tw.stats().cosockets"))
    end
  end)

  it("is not used again when the other side has closed it in the same turn", function()
    ada:send_text(cjson.encode((([[
      local options = { pool = "p" }
      tw.socket.connect("127.0.0.1", $PORT, options):setkeepalive()
      local now = os.clock()
      repeat until os.clock() - now >= 0.02
      require "socket.core".tcp():connect("127.0.0.1", $PORT)
      repeat until io.open("closed")
      return tw.socket.connect("127.0.0.1", $PORT, options):getreusedtimes()]])
      :gsub("%$PORT", other.port))))
    loop.wait_until(function() return #other.connections == 2 end)
    other.connections[1]:close()
    process.write_file(app.directory .. "/closed", "")
    assert.are.same({ "0" }, cjson.decode((ada:receive())))
  end)

  it("is closed after its time", function()
    run [[tw.socket.connect("127.0.0.1", $PORT, { pool = "p" }):setkeepalive(0.05)]]
    loop.wait_until(function() return other:open() == 0 end)
    assert.are.equal(0, other:open())
  end)

  it("makes room in its pool, and at limits.outgoing_sockets", function()
    assert.are.same({ "2", "2" }, run [[
      local list = {}
      for i = 1, 3 do list[i] = tw.socket.connect("127.0.0.1", $PORT, { pool = "p" }) end
      for i = 1, 3 do list[i]:setkeepalive(0, 2) end
      return tw.stats().cosockets_kept, tw.stats().cosockets]])
    assert.are.same({ "8", "0", "8" }, run [[
      local list = {}
      for i = 1, 8 do list[i] = tw.socket.connect("127.0.0.1", $PORT) end
      return #list, tw.stats().cosockets_kept, tw.stats().cosockets]])
  end)

  it("stays over a reload", function()
    run [[tw.socket.connect("127.0.0.1", $PORT, { pool = "p" }):setkeepalive()]]
    reloads.good(app, APP)
    assert.are.same({ "1" }, run [[
      return tw.socket.connect("127.0.0.1", $PORT, { pool = "p" }):getreusedtimes()]])
  end)

  it("needs a time and a count that are such", function()
    local list = run [[
      local a = tw.socket.connect("127.0.0.1", $PORT, { pool = "p" })
      return select(2, pcall(a.setkeepalive, a, -1)), select(2, pcall(a.setkeepalive, a, 1, 0))]]
    assert.matches("the time must be a number of seconds", list[1])
    assert.matches("the size must be a count", list[2])
  end)
end)
