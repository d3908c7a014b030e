-- socket_select_spec.lua -- socket.select of `require "socket"` waits for the first of many
-- sockets, and nothing else waits meanwhile. What it returns is in socket_equal_spec.lua.

local peer = require "support.peer"
local server = require "support.server"

local APP = [[
local socket = require "socket"
local here = require "here"
local tw = require "tidewire"
local kept = {}

local function open(count)
  local list = {}
  for i = 1, count do list[i] = assert(socket.connect(HOST, PORT)) end
  return list
end

local asked = {
  first_of_many = function()
    local list = open(100)
    tw.after(0.05, function() list[73]:send("say hello\\n\n") end)
    local ready = socket.select(list)
    return ("%d %s %s"):format(#ready, ready[1] == list[73], (list[73]:receive()))
  end,
  busy = function()
    kept = open(1)
    tw.spawn(function() socket.select(kept, nil, 5) end)
    tw.sleep(0.01)
    local _, why = pcall(kept[1].receive, kept[1])
    kept[1]:send("say hello\\n\n")
    return why
  end,
  -- One task is woken and has not run yet, when another one begins to wait for the same socket.
  handed_over = function()
    local first, second = table.unpack(open(2))
    local function await_bytes(s)
      repeat until #socket.select({ s }, nil, 0) == 1 -- no other task runs meanwhile
    end
    local late, answer
    tw.spawn(function() late = { pcall(socket.select, { second }, nil, 5) } end)
    tw.spawn(function()
      socket.select({ first }, nil, 5)
      second:receive(1)
      answer = #socket.select({ second }, nil, 5) .. tostring(second:receive(1))
    end)
    tw.sleep(0.01)
    first:send("say x\n")
    await_bytes(first)
    second:send("say x\n")
    await_bytes(second)
    repeat tw.sleep(0.001) until late
    second:send("say y\n")
    repeat tw.sleep(0.001) until answer
    return answer
  end,
  forever = function()
    kept = open(2)
    return #socket.select(kept)
  end,
  without_client = function()
    local list = open(2)
    local ready = socket.select(list, { list[1] }, nil) -- the socket takes bytes
    ready = socket.select(list)
    tw.log.info("selected", { count = #ready, why = select(2, ready[1]:receive()) })
  end,
  close = function()
    for _, s in ipairs(kept) do s:close() end
    return "closed"
  end,
  sort = function()
    local list = open(2)
    local _, why = pcall(table.sort, { 2, 1 }, function() return #socket.select(list) > 0 end)
    return why
  end,
  receive_in_sort = function()
    local s = open(1)[1]
    local _, why = pcall(table.sort, { 2, 1 }, function() return s:receive() end)
    return why
  end,
  connect_in_sort = function()
    local _, why = pcall(table.sort, { 2, 1 }, function() return socket.connect(HOST, PORT) end)
    return why
  end,
  coroutine = function()
    local list = open(2)
    local co = coroutine.wrap(function() return select("#", socket.select(list, nil, 0.05)) end)
    return co()
  end,
}

return {
  endpoints = {
    ["/"] = { validate = here.validate, handle_message = function(conn, name)
      conn:send(tostring(asked[name]()))
    end },
    ["/echo"] = { validate = here.validate, handle_message = function(conn, message)
      conn:send(message)
    end },
  },
}
]]

describe("socket.select", function()
  local app, other

  setup(function()
    other = peer.start()
    app = server.start({
      app = ("local HOST, PORT = %q, %d\n"):format(other.host, other.port) .. APP,
    })
  end)

  teardown(function()
    app:stop()
    other:stop()
  end)

  it("finds the first of a hundred sockets that has bytes", function()
    assert.equal("1 true hello", (app:connect_on(0, "/"):ask("first_of_many")))
  end)

  it("holds up no other connection", function()
    local ada, bob = app:connect_on(0, "/"), app:connect_on(0, "/echo")
    ada:send_text("forever")
    for i = 1, 20 do assert.equal(tostring(i), (bob:ask(tostring(i)))) end
    assert.equal("closed", (app:connect_on(0, "/"):ask("close")))
    assert.equal("2", (ada:receive()))
  end)

  it("does not wait without end when its WebSocket connection has closed", function()
    local ada = app:connect_on(0, "/")
    ada:send_text("without_client")
    ada:close()
    assert.matches("count=2 why=closed", app:wait_for_log("message=selected"))
  end)

  it("lets no other task wait for the same bytes", function()
    assert.matches("another task waits in receive of this socket",
      (app:connect_on(0, "/"):ask("busy")))
  end)

  it("ends no wait but its own", function()
    assert.equal("1y", (app:connect_on(0, "/"):ask("handed_over")))
  end)

  it("throws at the script's line where it cannot wait, as other calls of sockets do", function()
    local ada = app:connect_on(0, "/")
    for name, call in pairs {
      sort = "socket%.select", receive_in_sort = "socket:receive",
      connect_in_sort = "socket:connect",
    } do
      assert.matches("^app%.lua:%d+: " .. call .. ": attempt to yield", (ada:ask(name)))
    end
  end)

  it("waits in a coroutine of the script", function()
    assert.equal("3", (app:connect_on(0, "/"):ask("coroutine")))
  end)
end)
