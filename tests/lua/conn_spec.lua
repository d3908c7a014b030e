-- conn_spec.lua -- the connection as scripts see it: its fields, methods and timers, and the
-- script's own fields.

local fake_app = require "support.fake_app"

local world

before_each(function() world = fake_app:install() end)
after_each(function() world:uninstall() end)

--- Serves a handler and connects a client.
local function connect(handler, request)
  world:serve(handler or {})
  return world:connect("/", request)
end

--- The message of f's error, which must name the line of this file in which f stands.
local function misuse(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  local line, text = message:match("conn_spec%.lua:(%d+): (.*)$")
  assert(line, "the error is not told at its caller: " .. message)
  assert.equal(debug.getinfo(f, "S").linedefined, tonumber(line))
  return text
end

--- What `pairs` shows.
local function own_fields(conn)
  local fields = {}
  for key, value in pairs(conn) do
    fields[key] = value
  end
  return fields
end

describe("a connection's field", function()
  it("id is a text, the same each time, and no other connection's", function()
    local ada = connect()
    local bob = world:connect()
    assert.equal(world.core.id_text(world:id(ada)), ada.id)
    assert.equal(ada.id, ada.id)
    assert.are_not.equal(ada.id, bob.id)
  end)

  it("name is the endpoint's path", function()
    world:serve { endpoints = { ["/game/:room"] = {} } }
    assert.equal("/game/:room", world:connect("/game/7").name)
  end)

  it("name is what the handler says", function()
    assert.equal("the lobby", connect({ name = "the lobby" }).name)
  end)

  it("path, params and query are the request's, decoded", function()
    world:serve { endpoints = { ["/game/:room"] = {} } }
    local conn = world:connect("/game/caf%C3%A9?as=ada%20b&x")
    assert.equal("/game/café", conn.path)
    assert.same({ room = "café" }, conn.params)
    assert.same({ as = "ada b", x = "" }, conn.query)
  end)

  it("remote_address and secure are the peer's", function()
    local conn = connect({}, { remote_address = "2001:db8::1", secure = true })
    assert.equal("2001:db8::1", conn.remote_address)
    assert.is_true(conn.secure)
    assert.is_false(world:connect().secure)
  end)

  it("subprotocol is the chosen one, or nil", function()
    local conn = connect({ subprotocols = { "v2", "v1" } },
      { headers = { ["Sec-WebSocket-Protocol"] = "v1, v2" } })
    assert.equal("v2", conn.subprotocol)
    assert.is_nil(world:connect().subprotocol)
  end)

  it("request is the request that validate saw", function()
    local seen
    local conn = connect({
      validate = function(request)
        seen = request
        request.note = "kept"
        return true
      end,
    }, { headers = { ["X-Token"] = "t" } })
    assert.equal(seen, conn.request)
    assert.equal("kept", conn.request.note)
    assert.equal("t", conn.request.headers["x-token"])
  end)

  it("started_at is the time of the handshake", function()
    world:advance(5)
    local conn = connect()
    world:advance(5)
    assert.equal(1.7e9 + 5, conn.started_at)
  end)

  it("rtt is nil until a ping was answered", function()
    local conn = connect()
    assert.is_nil(conn.rtt)
    world.conns[world:id(conn)].rtt = 0.25
    assert.equal(0.25, conn.rtt)
  end)

  it("backlog is what waits now", function()
    local conn = connect()
    assert.equal(0, conn.backlog)
    world.conns[world:id(conn)].backlog = 70000
    assert.equal(70000, conn.backlog)
  end)

  it("that was never set is nil", function()
    assert.is_nil(connect().username)
    assert.is_nil(connect()[1])
  end)

  it("can be read in on_close and long after", function()
    local seen
    local conn = connect({
      on_start = function(conn) conn.username = "ada" end,
      on_close = function(conn) seen = { conn.id, conn.name, conn.path, conn.username } end,
    })
    world:close(conn)
    world:forget(conn)
    assert.same({ conn.id, "/*", "/", "ada" }, seen)
    assert.same({ nil, 0 }, { conn.rtt, conn.backlog })
  end)
end)

describe("a field of the script's own", function()
  it("stays as it was set, under any key", function()
    local conn, key = connect(), {}
    conn.username, conn[1], conn[key], conn[""], conn.flag =
      "ada", "one", "by table", "by nothing", false
    assert.same({ "ada", "one", "by table", "by nothing", false },
      { conn.username, conn[1], conn[key], conn[""], conn.flag })
  end)

  it("is one connection's alone", function()
    local ada = connect()
    local bob = world:connect()
    ada.username = "ada"
    assert.is_nil(bob.username)
  end)

  it("may come from validate, and then is there in on_start", function()
    local seen
    local conn = connect {
      validate = function() return { username = "ada", roles = { "admin" } } end,
      on_start = function(c) seen = c.username end,
    }
    assert.equal("ada", seen)
    assert.same({ "admin" }, conn.roles)
  end)

  it("from one table that validate returns for all is still one connection's alone", function()
    local defaults = { count = 0 }
    local ada = connect { validate = function() return defaults end }
    local bob = world:connect()
    ada.count = 7
    assert.equal(0, bob.count)
    assert.equal(0, defaults.count)
  end)
end)

describe("pairs on a connection", function()
  it("shows nothing at first", function()
    assert.same({}, own_fields(connect()))
  end)

  it("shows the script's own fields and nothing else", function()
    local conn = connect { validate = function() return { username = "ada" } end }
    conn[1], conn[true], conn[""], conn.ready = "one", "yes", "nothing", false
    assert.same({ username = "ada", [1] = "one", [true] = "yes", [""] = "nothing", ready = false },
      own_fields(conn))
  end)

  it("shows a send of the script's own", function()
    local conn = connect()
    local function send() end
    conn.send = send
    assert.same({ send = send }, own_fields(conn))
  end)

  it("lets fields be changed and cleared on the way", function()
    local conn = connect()
    for i = 1, 20 do
      conn["field" .. i] = i
    end
    for key, value in pairs(conn) do
      conn[key] = value % 2 == 0 and value * 2 or nil
    end
    local sum = 0
    for _, value in pairs(conn) do
      sum = sum + value
    end
    assert.equal(220, sum)
  end)
end)

describe("a name that a connection has itself", function()
  it("cannot be assigned to, and keeps its meaning", function()
    local conn = connect { name = "lobby" }
    local id = conn.id
    for _, name in ipairs { "id", "name", "request", "started_at", "subprotocol", "path",
      "params", "query",
      "remote_address", "secure", "rtt", "backlog" } do
      assert.equal(("conn.%s cannot be set: every connection has this field itself; put your value "
        .. "under another name, such as conn.user_%s"):format(name, name),
        misuse(function() conn[name] = "mine" end))
    end
    for _, name in ipairs {
      "close", "is_open", "ping", "join", "leave", "rooms", "after", "every",
    } do
      assert.equal(("conn.%s cannot be set: it is a method of every connection; put your value "
        .. "under another name, such as conn.my_%s"):format(name, name),
        misuse(function() conn[name] = "mine" end))
    end
    assert.same({ id, "lobby", {} }, { conn.id, conn.name, own_fields(conn) })
  end)

  it("cannot be cleared either", function()
    local conn = connect()
    assert.matches("^conn.id cannot be set", misuse(function() conn.id = nil end))
  end)

  it("is said after on_start where it is send, which then works again", function()
    local seen
    local conn = connect {
      on_start = function(conn) conn.send = "mine" end,
      on_error = function(_, err) seen = err.message end,
    }
    assert.matches("^conn.send was set: it is a method", seen)
    assert.same({}, own_fields(conn))
  end)
end)

describe("tostring of a connection", function()
  it("has its id and its endpoint, and no secret of its request", function()
    local conn = connect({ name = "lobby" }, { headers = { Authorization = "Bearer hush" } })
    assert.equal(("tidewire.Conn %s (lobby)"):format(conn.id), tostring(conn))
  end)
end)

describe("conn:close", function()
  it("closes with 1000 and no reason by default", function()
    local conn = connect()
    conn:close()
    assert.same({ 1000, "" }, { world:close_of(conn) })
  end)

  it("closes with the code and reason that are given", function()
    local conn = connect()
    conn:close(4000, "bye")
    assert.same({ 4000, "bye" }, { world:close_of(conn) })
  end)

  it("takes each code that a server may send", function()
    for _, code in ipairs {
      1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999,
    } do
      local conn = connect()
      conn:close(code)
      assert.equal(code, (world:close_of(conn)))
    end
  end)

  it("throws at its caller for each other code", function()
    local conn = connect()
    for _, code in ipairs {
      0, -1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536 + 1000, 1000.0,
    } do
      local text = misuse(function() conn:close(code) end)
      assert.equal(("close: %s is no code that can be sent; use 1000 to 1014 (but 1004 to 1006) or "
        .. "3000 to 4999"):format(code), text)
    end
    assert.matches('^close: string "1000" is no code', misuse(function() conn:close("1000") end))
    assert.matches("^close: table is no code", misuse(function() conn:close({}) end))
    assert.is_true(conn:is_open())
  end)

  it("takes a reason of up to 123 bytes of UTF-8", function()
    local conn = connect()
    local reason = ("é"):rep(61) .. "!"
    conn:close(1000, reason)
    assert.same({ 1000, reason }, { world:close_of(conn) })
  end)

  it("throws at its caller's line for an invalid reason", function()
    local conn = connect()
    for _, reason in ipairs { ("x"):rep(124), "\xff", "\xed\xa0\x80", 42, {} } do
      assert.equal("close: the reason must be UTF-8 text of at most 123 bytes",
        misuse(function() conn:close(1000, reason) end))
    end
    assert.is_true(conn:is_open())
  end)

  it("may be called again: the first one counts", function()
    local conn = connect()
    conn:close(4000, "bye")
    conn:close(4001, "bye again")
    assert.same({ 4000, "bye" }, { world:close_of(conn) })
  end)

  it("does nothing to a connection that closed long ago", function()
    local conn = connect()
    world:close(conn)
    world:forget(conn)
    assert.has_no.errors(function() conn:close() end)
  end)
end)

describe("conn:is_open", function()
  it("is true, and false as soon as it is closing", function()
    local conn = connect()
    assert.is_true(conn:is_open())
    conn:close()
    assert.is_false(conn:is_open())
  end)
end)

describe("conn:ping", function()
  it("sends a ping and returns true", function()
    local conn = connect()
    assert.is_true(conn:ping())
    assert.same({ world:id(conn) }, world.pings)
  end)

  it("answers nil and closed once it is closing", function()
    local conn = connect()
    conn:close()
    assert.same({ nil, "closed" }, { conn:ping() })
  end)
end)

-- ---- timers ----

describe("conn:after", function()
  it("calls its function once with the connection", function()
    local conn = connect()
    local calls = {}
    conn:after(1, function(...) table.insert(calls, { world:now(), ... }) end)
    world:advance(5)
    assert.equal(1, #calls)
    assert.equal(1.0, calls[1][1])
    assert.equal(conn, calls[1][2])
    assert.is_nil(calls[1][3])
  end)

  it("gives a timer that can be cancelled", function()
    local conn = connect()
    local timer = conn:after(1, function() error("must not run") end)
    assert.is_true(timer:is_running())
    assert.is_true(timer:cancel())
    assert.is_false(timer:is_running())
    world:advance(2)
    assert.same({}, world.failures)
  end)

  it("calls a function that may wait", function()
    local conn = connect()
    local done_at
    conn:after(1, function()
      require("tidewire").sleep(1)
      done_at = world:now()
    end)
    world:advance(5)
    assert.equal(2, done_at)
  end)

  it("throws at its caller's line for an invalid time or function", function()
    local conn = connect()
    assert.equal("conn:after: seconds must be a number from 0 to 1e9, got -1",
      misuse(function() conn:after(-1, print) end))
    assert.equal("conn:after: a function is needed, got nil", misuse(function() conn:after(1) end))
  end)
end)

describe("a connection's methods", function()
  it("are called with a colon", function()
    local conn = connect()
    for _, method in ipairs {
      "close", "is_open", "ping", "join", "leave", "rooms", "after", "every",
    } do
      local message = ("conn:%s: call it with a colon, conn:%s(…)"):format(method, method)
      assert.equal(message, misuse(function() conn[method]() end))
      assert.equal(message, misuse(function() conn[method](1) end))
      assert.equal(message, misuse(function() conn[method]({}, 1) end))
    end
    assert.is_true(conn:is_open())
  end)
end)

describe("conn:every", function()
  it("calls its function again and again with the connection", function()
    local conn = connect()
    local times = {}
    conn:every(0.1, function(c)
      assert(c == conn)
      table.insert(times, world:now())
    end)
    world:advance(0.35)
    assert.same({ 0.1, 0.2, 0.3 }, times)
  end)

  it("is not overtaken by itself", function()
    local conn = connect()
    local starts = {}
    local timer = conn:every(0.1, function()
      table.insert(starts, world:now())
      require("tidewire").sleep(0.25)
    end)
    world:advance(0.4)
    assert.same({ 0.1, 0.4 }, starts)
    assert.equal(2, timer.skipped)
  end)

  it("throws at its caller for periods that are too short, and for no function", function()
    local conn = connect()
    assert.equal("conn:every: seconds must be a number from 0.001 to 1e9, got 0",
      misuse(function() conn:every(0, print) end))
    assert.equal("conn:every: a function is needed, got table",
      misuse(function() conn:every(1, {}) end))
  end)
end)

describe("a connection's timers", function()
  --- A client with one timer of each kind, which count.
  local function with_timers(handler)
    local conn, calls = connect(handler), { after = 0, every = 0 }
    local once = conn:after(1, function() calls.after = calls.after + 1 end)
    local again = conn:every(1, function() calls.every = calls.every + 1 end)
    return conn, calls, once, again
  end

  it("end with it", function()
    local conn, calls, once, again = with_timers()
    world:close(conn)
    assert.is_false(once:is_running() or again:is_running())
    assert.is_nil(next(world.timers)) -- nothing is left in C either
    world:advance(5)
    assert.same({ after = 0, every = 0 }, calls)
  end)

  it("have ended when on_close runs", function()
    local timer, within
    local conn = connect { on_close = function() within = timer:is_running() end }
    timer = conn:every(1, function() end)
    world:close(conn)
    assert.is_false(within)
  end)

  it("do not fire between conn:close and on_close", function()
    local conn, calls = with_timers()
    conn:close()
    world:advance(5)
    assert.same({ after = 0, every = 0 }, calls)
  end)

  it("of other connections go on", function()
    local ada = with_timers()
    local _, calls = with_timers()
    world:close(ada)
    world:advance(2)
    assert.same({ after = 1, every = 2 }, calls)
  end)

  it("that are over are forgotten while it lives", function()
    local conn = connect()
    local kept = setmetatable({ conn:after(1, function() end), conn:every(1, function() end) },
      { __mode = "v" })
    kept[2]:cancel()
    world:advance(2)
    collectgarbage()
    collectgarbage()
    assert.same({ nil, nil }, { kept[1], kept[2] })
    assert.is_true(conn:is_open())
  end)

  it("cannot be made once it closes: the timer is over at once", function()
    local timer
    local conn = connect { on_close = function(conn)
      timer = conn:every(1, function() error("must not run") end)
    end }
    world:close(conn)
    assert.is_false(timer:is_running())
    assert.is_false(timer:cancel())
    assert.equal(0, timer.skipped)
    assert.is_nil(next(world.timers))
  end)

  it("let a function that waits when the connection ends go on to its end", function()
    local conn = connect()
    local is_open
    conn:after(1, function(c)
      require("tidewire").sleep(2)
      is_open = c:is_open()
    end)
    world:advance(1.5)
    world:close(conn)
    world:advance(2)
    assert.is_false(is_open)
  end)

  it("bring their errors to on_error, as of the hook timer", function()
    local err
    local conn = connect {
      on_error = function(_, e)
        err = e
        return false
      end,
    }
    conn:after(1, function() error("out of tea") end)
    world:advance(1)
    assert.equal("timer", err.hook)
    assert.equal("script", err.kind)
    assert.matches("conn_spec%.lua:%d+: out of tea", err.message)
    assert.matches("conn_spec", err.traceback)
    assert.equal(1, world.stats.script_errors)
    assert.is_true(conn:is_open())
  end)

  it("repeat after an error that on_error bears", function()
    local conn, calls = connect { on_error = function() return false end }, 0
    conn:every(1, function()
      calls = calls + 1
      error("out of tea")
    end)
    world:advance(3)
    assert.equal(3, calls)
  end)

  it("close the connection with 1011 by an error without an on_error", function()
    local conn = connect()
    conn:every(1, function() error("out of tea") end)
    world:advance(1)
    assert.equal(1011, (world:close_of(conn)))
    assert.equal("error", world:logged("script_error")[1].level)
    assert.equal(world:id(conn), world:logged("script_error")[1].conn)
  end)

  it("do not call on_error after on_close: the error is logged", function()
    local hooks = {}
    local conn = connect {
      on_error = function() table.insert(hooks, "on_error") end,
      on_close = function() table.insert(hooks, "on_close") end,
    }
    conn:after(1, function()
      require("tidewire").sleep(1)
      error("out of tea")
    end)
    world:advance(1.5)
    world:close(conn)
    world:advance(1)
    assert.same({ "on_close" }, hooks)
    assert.equal(1, #world:logged("script_error"))
  end)
end)
