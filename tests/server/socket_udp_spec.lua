-- socket_udp_spec.lua -- socket.udp of `require "socket"`: datagrams, for which tasks wait.

local loop = require "support.loop"
local server = require "support.server"
local uv = require "luv"

local APP = [[
local socket = require "socket"
local tw = require "tidewire"
local waiting

local asked = {
  connected = function()
    local s = socket.udp()
    local name, ok = tostring(s):match "^udp{%w+}", s:setpeername("127.0.0.1", PORT)
    s:settimeout(30)
    return name, ok, s:send "hello", s:receive(), tostring(s):match "^udp{%w+}",
      (select(2, s:getpeername()))
  end,
  unconnected = function()
    local s = socket.udp4()
    s:settimeout(30)
    return s:setsockname("*", 0), s:sendto("hello", "127.0.0.1", PORT), s:receivefrom()
  end,
  name = function()
    local s = socket.udp4()
    s:settimeout(30)
    return s:setpeername("localhost", PORT), s:send "hello", (s:receive(3))
  end,
  unknown = function() return socket.udp():setpeername("nonexistent.invalid", PORT) end,
  limits = function()
    local s = socket.udp()
    s:setpeername("127.0.0.1", PORT)
    s:settimeout(0.05)
    local problem = select(2, s:receive())
    s:settimeout(0)
    return problem, select(2, s:receive()), s:gettimeout()
  end,
  wait = function()
    waiting = socket.udp()
    waiting:setpeername("127.0.0.1", PORT)
    return waiting:receive()
  end,
  second = function() return (select(2, pcall(waiting.receive, waiting))) end,
  without_client = function()
    local s = socket.udp()
    s:setpeername("127.0.0.1", PORT)
    tw.log.info("received", { why = select(2, s:receive()) })
    return 1
  end,
  close = function() return waiting:close(), waiting:send "x" end,
  coroutine = function()
    local s = socket.udp()
    s:setpeername("127.0.0.1", PORT)
    local co = coroutine.create(function() s:receive() end)
    tw.spawn(function()
      tw.sleep(0.01)
      coroutine.close(co)
    end)
    coroutine.resume(co)
    s:send "hello"
    return s:receive()
  end,
}

return {
  endpoints = {
    ["/"] = { handle_message = function(conn, name)
      local results = table.pack(asked[name]())
      for i = 1, results.n do
        local number = math.tointeger(results[i])
        results[i] = tostring(number or results[i])
      end
      conn:send(table.concat(results, " "))
    end },
  },
}
]]

describe("socket.udp", function()
  local app, echo, port, ada

  setup(function()
    echo = uv.new_udp()
    echo:bind("127.0.0.1", 0)
    port = echo:getsockname().port
    echo:recv_start(function(_, data, address)
      if data then echo:send("got " .. data, address.ip, address.port) end
    end)
    app = server.start({ app = ("local PORT = %d\n"):format(port) .. APP, workers = 1 })
    ada = app:connect("/")
  end)

  teardown(function()
    app:stop()
    echo:recv_stop()
    local is_closed
    echo:close(function() is_closed = true end)
    loop.wait_until(function() return is_closed end)
  end)

  it("sends datagrams to a peer, and receives its answers", function()
    assert.equal("udp{unconnected} 1 5 got hello udp{connected} " .. port, (ada:ask("connected")))
  end)

  it("sends datagrams to addresses", function()
    assert.equal("1 5 got hello 127.0.0.1 " .. port, (ada:ask("unconnected")))
  end)

  it("looks names up, and cuts what is longer than the size", function()
    assert.equal("1 5 got", (ada:ask("name")))
    assert.matches("^nil %l", (ada:ask("unknown")))
  end)

  it("has LuaSocket's limits", function()
    assert.equal("timeout timeout 0 -1", (ada:ask("limits")))
  end)

  it("holds up nothing while it waits, for one task, until it is closed", function()
    ada:send_text("wait")
    local bob = app:connect("/")
    assert.matches("another task waits on this socket", (bob:ask("second")))
    assert.equal("1 nil refused", (bob:ask("close"))) -- LuaSocket's word
    assert.equal("nil closed", (ada:receive()))
  end)

  it("does not wait without end when its WebSocket connection has closed", function()
    local bob = app:connect("/")
    bob:send_text("without_client")
    bob:close()
    assert.matches("why=closed", app:wait_for_log("message=received"))
  end)

  it("goes on after a coroutine that waited was closed", function()
    assert.equal("got hello", (ada:ask("coroutine")))
  end)
end)
