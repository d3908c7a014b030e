-- socket_spec.lua -- sockets of scripts: waiting in all places, several tasks, ends, limits.
-- socket_equal_spec.lua compares the calls with LuaSocket's; the peer is support/peer.lua.

local cjson = require "cjson"
local client = require "support.client"
local loop = require "support.loop"
local peer = require "support.peer"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local uv = require "luv"

-- "/run" runs a message as Lua, which may wait, and sends what it returned as a list of texts.
local APP = [[
local tw = require "tidewire"
local record = require "record"
local socket = require "socket"
local kept = {}

local function texts(...)
  local list = tw.array()
  for i = 1, select("#", ...) do list[i] = tostring((select(i, ...))) end
  return list
end

local function run(conn, source)
  local f = assert(load(source, "=run", "t", setmetatable({ tw = tw, socket = socket, kept = kept,
    conn = conn, record = record }, { __index = _G })))
  return texts(select(2, xpcall(f, function(err) return tostring(err) end)))
end

return {
  limits = { outgoing_sockets = 20 },
  endpoints = {
    ["/run"] = {
      codec = "json", handle_message = function(conn, source) conn:send(run(conn, source)) end,
      on_close = function() record("closed") end,
    },
    ["/echo"] = { handle_message = function(conn, message) conn:send(message) end },
    ["/validate"] = { validate = function(request)
      local s = socket.tcp()
      s:settimeout(tonumber(request.query.timeout))
      local ok, problem = pcall(s.connect, s, "127.0.0.1", tonumber(request.query.port))
      return false, 403, tostring(problem)
    end },
  },
}
]]

describe("a socket of a script", function()
  local app, ada, other

  before_each(function()
    other = peer.start()
    app = server.start({ app = APP })
    ada = app:connect("/run")
  end)

  after_each(function()
    app:stop()
    other:stop()
  end)

  --- Runs Lua in the program. `$PORT` is the peer's.
  local function run(source, from)
    source = source:gsub("%$PORT", tostring(other.port))
    return cjson.decode((((from or ada):ask(cjson.encode(source), 60))))
  end

  --- Sends it, and does not wait for the answer.
  local function start(source, from)
    (from or ada):send_text(cjson.encode((source:gsub("%$PORT", tostring(other.port)))))
  end

  local function wait_for_peer(count)
    loop.wait_until(function() return #other.connections >= (count or 1) end)
    return other.connections[count or 1]
  end

  it("waits without holding up other connections", function()
    start [[local s = socket.connect("127.0.0.1", $PORT) return s:receive()]]
    local connection = wait_for_peer()
    local bob = app:connect("/echo")
    assert.are.equal("hi", bob:ask("hi"))
    connection.handle:write("now\n")
    assert.are.same({ "now", "nil", "nil" }, cjson.decode((ada:receive())))
  end)

  it("does not wait for bytes that are there, nor where the system takes them", function()
    assert.are.same({ "one", "two", "false" }, run [[
      local s = socket.connect("127.0.0.1", $PORT)
      s:send("say one\\ntwo\\n\n")
      tw.sleep(0.2)
      local was_elsewhere = false
      tw.spawn(function() was_elsewhere = true end)
      local one, two = s:receive(), s:receive()
      s:send("say three\n")
      return one, two, was_elsewhere]])
  end)

  it("waits in coroutines, pcall, metamethods and iterators", function()
    assert.are.same({ "1", "2", "3", "4", "5" }, run [[
      local s = socket.connect("127.0.0.1", $PORT)
      local function ask(n) s:send("say " .. n .. "\\n\n") return (s:receive()) end
      local list = {}
      local co = coroutine.wrap(function() coroutine.yield(ask(1)) return ask(2) end)
      list[1], list[2] = co(), co()
      local _, three = pcall(ask, 3)
      list[3] = three
      list[4] = setmetatable({}, { __index = function(_, n) return ask(n) end })[4]
      for n in function(_, last) return not last and ask(5) or nil end do list[5] = n end
      return table.unpack(list)]])
  end)

  it("says where it cannot wait", function()
    local list = run [[
      local s = socket.connect("127.0.0.1", $PORT)
      return pcall(table.sort, { 1, 2, 3 }, function() return s:receive() end)]]
    assert.are.equal("false", list[1])
    assert.matches("socket:receive: attempt to yield across a C%-call boundary", list[2])
    local _, _, _, refusal = client.connect(app:url("/validate?timeout=5&port=" .. other.port))
    assert.matches("socket:connect: validate must answer at once", refusal)
  end)

  it("lets one task send while another receives, and refuses a second one that receives", function()
    local list = run [[
      local s = socket.connect("127.0.0.1", $PORT)
      local got
      tw.spawn(function() got = s:receive() end)
      tw.sleep(0)
      local ok, problem = pcall(s.receive, s)
      s:send("say answer\\n\n")
      while not got do tw.sleep(0.01) end
      return got, ok, problem]]
    assert.are.equal("answer", list[1])
    assert.are.equal("false", list[2])
    assert.matches("socket:receive: another task waits in receive of this socket", list[3])
  end)

  it("ends the wait of another task by close", function()
    assert.are.same({ "nil", "closed", "part" }, run [[
      local s = socket.connect("127.0.0.1", $PORT)
      s:send("say part\n")
      local result
      tw.spawn(function() result = table.pack(s:receive()) end)
      tw.sleep(0.1)
      s:close()
      while not result do tw.sleep(0.01) end
      return table.unpack(result, 1, result.n)]])
  end)

  it("ends a wait whose coroutine the script closes, and can be used again", function()
    assert.are.same({ "true", "after" }, run [[
      local s = socket.connect("127.0.0.1", $PORT)
      local co, passed = coroutine.create(function() return s:receive() end), nil
      tw.spawn(function() passed = coroutine.resume(co) end)
      tw.sleep(0)
      coroutine.close(co)
      tw.sleep(0)
      s:send("say after\\n\n")
      return tostring(passed ~= nil), (s:receive())]])
  end)

  it("drops what was not received when it is closed", function()
    assert.are.same({ "1", "true", "false", "nil", "closed", "" }, run [[
      local s = socket.connect("127.0.0.1", $PORT)
      s:send("say 123\\n\n")
      local one, before = s:receive(1), s:dirty()
      s:close()
      return one, before, s:dirty(), s:receive(1)]])
  end)

  it("sends more than the system takes, and says where it stopped", function()
    local list = run [[
      local s = socket.connect("127.0.0.1", $PORT)
      local data = ("y"):rep(20 << 20)
      s:send("count " .. #data .. "\n")
      local last = s:send(data)
      return last, (s:receive())]]
    assert.are.same({ tostring(20 << 20), tostring(20 << 20) }, list)
    start [[
      local s = socket.connect("127.0.0.1", $PORT)
      s:settimeout(0.2)
      s:receive()
      local last, problem, partial = s:send(("z"):rep(64 << 20))
      return last, problem, partial > 0 and partial < 64 << 20]]
    wait_for_peer(2).handle:read_stop()
    assert.are.same({ "nil", "timeout", "true" }, cjson.decode((ada:receive())))
  end)

  it("is closed when nothing refers to it, and at the end of its block", function()
    run [[do local s <close> = socket.connect("127.0.0.1", $PORT) end]]
    loop.wait_until(function() return other:open() == 0 end)
    assert.are.equal(0, other:open())
    run [[socket.connect("127.0.0.1", $PORT)]]
    wait_for_peer(2)
    run [[collectgarbage() collectgarbage()]]
    loop.wait_until(function() return other:open() == 0 end)
    assert.are.equal(0, other:open())
  end)

  it("is one of limits.outgoing_sockets", function()
    local list = run [[
      for i = 1, 20 do kept[i] = assert(socket.connect("127.0.0.1", $PORT)) end
      local s, problem = socket.connect("127.0.0.1", $PORT)
      local count = tw.stats().cosockets
      for i = 1, 20 do kept[i] = nil end
      local last
      repeat -- the collector makes room, but not all the time
        tw.sleep(0.01)
        last = socket.connect("127.0.0.1", $PORT)
      until last
      return s, problem, count, last ~= nil]]
    assert.are.equal("nil", list[1])
    assert.matches("^limits%.outgoing_sockets is reached", list[2])
    assert.are.equal("20", list[3])
    assert.are.equal("true", list[4])
  end)

  it("is counted", function()
    local list = run [[
      local s = socket.connect("127.0.0.1", $PORT)
      socket.connect("127.0.0.1", 1)
      local stats = tw.stats()
      s:close()
      return stats.cosockets, stats.cosockets_connected, stats.cosockets_failed,
        tw.stats().cosockets]]
    assert.are.same({ "1", "1", "1", "0" }, list)
  end)

  it("counts what it receives in limits.memory", function()
    local small <close> = server.start({
      app = APP:gsub("limits = {", 'limits = { memory = "16M",', 1),
    })
    local bob = small:connect("/run")
    local list = run([[
      local s = socket.connect("127.0.0.1", $PORT)
      s:send("fill 40000000\n")
      return pcall(s.receive, s, "*a")]], bob)
    assert.are.equal("false", list[1])
    assert.matches("not enough memory", list[2])
    assert.are.equal("2", run("return 1 + 1", bob)[1])
  end)

  it("goes on when its WebSocket connection closes meanwhile", function()
    start [[local s = socket.connect("127.0.0.1", $PORT) record("got", (s:receive()))]]
    local connection = wait_for_peer()
    ada:close()
    connection.handle:write("late\n")
    assert.are.equal("late", app:wait_event("got")[2])
    app:wait_event("closed")
    assert.is_truthy(loop.wait_until(function()
      local bob = app:connect("/run") -- on any worker
      run("collectgarbage() collectgarbage()", bob)
      bob:close()
      return connection.ended
    end))
  end)

  it("does not wait without end when its WebSocket connection has closed", function()
    start [[local s = socket.connect("127.0.0.1", $PORT) record("got", s:receive())]]
    local connection = wait_for_peer()
    ada:close()
    assert.are.same({ "got", nil, "closed", "", n = 4 }, app:wait_event("got"))
    app:wait_event("closed")
    assert.is_truthy(loop.wait_until(function() return connection.ended end))
  end)

  it("of a function that was spawned waits without the WebSocket connection", function()
    start [[
      tw.spawn(function()
        local s = socket.connect("127.0.0.1", $PORT)
        record("got", (s:receive()))
      end)]]
    local connection = wait_for_peer()
    ada:close()
    loop.pass(5) -- more than a hook would wait
    connection.handle:write("late\n")
    assert.are.equal("late", app:wait_event("got")[2])
  end)

  it("goes on over a reload, and new code has sockets too", function()
    start [[local s = socket.connect("127.0.0.1", $PORT) return s:receive()]]
    local connection = wait_for_peer()
    reloads.good(app, APP)
    connection.handle:write("still\n")
    assert.are.same({ "still", "nil", "nil" }, cjson.decode((ada:receive())))
    assert.are.same({ "new", "nil", "nil" }, run [[
      local s = socket.connect("127.0.0.1", $PORT) s:send("say new\\n\n") return s:receive()]])
  end)

  it("is closed when the server stops, and ends what waits", function()
    start [[
      local s = socket.connect("127.0.0.1", $PORT)
      record("ended", select(2, s:receive()))]]
    wait_for_peer()
    app:signal("sigterm")
    assert.are.equal("closed", app:wait_event("ended")[2])
  end)

  it("looks up names, tries all addresses, and says what is unknown", function()
    local v6 = peer.start("::1")
    assert.are.same({ "::1", "inet6" }, cjson.decode((ada:ask(cjson.encode(
      ('local a, _, f = tw.socket.connect("::1", %d):getpeername() return a, f')
        :format(v6.port))))))
    v6:stop()
    assert.are.same({ "127.0.0.1" },
      run [[return (tw.socket.connect("localhost", $PORT):getpeername())]])
    assert.are.same({ "nil", "host or service not provided, or not known" },
      run [[return tw.socket.connect("nonexistent.invalid", $PORT)]])
  end)

  it("connects to paths", function()
    local folder = process.make_directory()
    local path = folder .. "/s"
    local at_path = peer.start("unix:" .. path)
    local source = [[
      local a = tw.socket.connect("unix:$PATH")
      a:send("say one\\n\n")
      local b = require "socket.unix"()
      b:connect("$PATH")
      b:send("say two\\n\n")
      return (a:receive()), (b:receive()), (select(2, tw.socket.connect("unix:$PATH.not")))]]
    assert.are.same({ "one", "two", "No such file or directory" },
      run((source:gsub("%$PATH", path))))
    at_path:stop()
    process.remove_directory(folder)
  end)

  it("counts a path whose queue is full as one failure", function()
    local folder = process.make_directory()
    local full = uv.new_pipe(false)
    full:bind(folder .. "/full")
    full:listen(1, function() end)
    local list = run(([[
      local list, problem, _ = {}
      repeat
        local s = socket.tcp()
        s:settimeout(0.2)
        _, problem = s:connect("unix:%s/full")
        list[#list + 1] = s
      until problem
      local stats = tw.stats()
      list[#list]:close()
      return problem, stats.cosockets_failed, tw.stats().cosockets_failed]]):format(folder))
    full:close()
    uv.run("nowait")
    process.remove_directory(folder)
    assert.are.same({ "timeout", "0", "1" }, list)
  end)

  it("selects those that are ready", function()
    assert.are.same({ "1", "true", "1", "timeout", "0", "1" }, run [[
      local a = socket.connect("127.0.0.1", $PORT)
      local b = socket.connect("127.0.0.1", $PORT)
      b:send("say x\\n\n")
      local readable = socket.select({ a, b }, nil, 30)
      local first, is_b, at = #readable, readable[1] == b, readable[b]
      local none, _, problem = socket.select({ a }, nil, 0.05)
      local _, writable = socket.select({ a }, { a }, 30)
      return first, is_b, at, problem, #none, #writable]])
  end)

  it("takes numbers beyond all integers, and limits beyond all timers", function()
    assert.are.same({ "x", "abc", "4", "4", "4" }, run [[
      local s = socket.tcp()
      s:settimeout(1e300)
      s:connect("localhost", $PORT)
      s:send("say x\\n\n")
      local line = s:receive()
      s:send("say abc\nend\n")
      local _, _, partial = s:receive(1e300)
      return line, partial, s:send("\n\n\n\n", -1e300, 1e300), s:send("\n\n\n\n", 0 / 0, 1 / 0),
        (s:send("\n\n\n\n", -1 / 0))]])
  end)

  it("throws for arguments that cannot be meant", function()
    for source, problem in pairs {
      ['tw.socket.connect()'] = "host must be a name",
      ['tw.socket.connect("h")'] = "port must be a number",
      ['tw.socket.connect("h", 70000)'] = "port must be a number from 0 to 65535",
      ['tw.socket.connect("h", 1, 5)'] = "options must be a table",
      ['tw.socket.connect("h", 1, { tiemout = 1 })'] = 'option "tiemout"; did you mean "timeout"',
      ['tw.socket.connect("h", 1, { timeout = 0 })'] = "timeout: expected",
      ['tw.socket.connect("h", 1, { tls = { key = "x" } })'] = "certificate and key belong",
      ['tw.socket:connect("h", 1)'] = "call it with a dot",
      ['socket.tcp().receive()'] = "socket:receive: call it with a colon",
      ['socket.tcp().send("x")'] = "socket:send: call it with a colon",
      ['socket.tcp().close()'] = "socket:close: call it with a colon",
      ['socket.tcp():send("x")'] = "it is not connected",
      ['socket.bind("*", 1)'] = "socket.bind does not exist here",
      ['socket.tcp():listen()'] = "socket:listen does not exist here",
    } do
      local list = run("return pcall(function() return " .. source .. " end)")
      assert.are.equal("false", list[1], source)
      assert.is_truthy(list[2]:find(problem, 1, true), source .. ": " .. list[2])
    end
  end)
end)
