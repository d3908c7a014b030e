-- users_spec.lua -- the option `user`, tw.user, the limit of a user's connections, and presence by
-- user, against the real program. Clients of a test come to one worker after the other.

local chunks = require "support.chunks"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

-- Clients send Lua code (chunks.lua). ?user=ada is the user, an integer where ?number=7 is given.
local APP = [[
local chunks = require "chunks"
local here = require "here"
local record = require "record"
local tw = require "tidewire"

local function run(conn, code)
  conn:send(chunks.run(code, { conn = conn, tw = tw, record = record }))
end

local function validate(request)
  local ok, status = here.validate(request)
  if not ok then return nil, status end
  local query = request.query
  return { username = query.user or tonumber(query.number), odd = query.odd }
end

local values = {
  table = {}, boolean = true, half = 0.5, empty = "", long = ("x"):rep(257),
  longest = ("x"):rep(256), bytes = "\0\255\n", float = 7.0, negative = -7, no = false,
}

return {
  defaults = { validate = validate, handle_message = run, user = USER, ping_period = 0,
    on_start = function(conn)
      for room in (conn.query.rooms or ""):gmatch("%w+") do conn:join(room, conn.query.info) end
      if conn.query.hello then conn:send("hello " .. tostring(conn.user), "binary") end
    end },
  endpoints = {
    ["/"] = {},
    ["/binary"] = { codec = "binary" },
    ["/json"] = { codec = "json", handle_message = function(conn, code)
      conn:send(chunks.run(code, { conn = conn, tw = tw, record = record })) end },
    ["/two"] = { user_connections = 2 },
    ["/last"] = { user_connections = 1, user_limit = "replace",
      on_close = function(conn, code, reason) record("closed", conn.query.mark, code, reason) end },
    ["/function"] = { user = function(conn)
      if conn.odd == "throw" then error("on purpose") end
      if conn.odd == "join" then return tostring(conn:join("lobby")) .. "/" .. conn.path end
      return values[conn.odd]
    end },
    ["/session"] = { resume = { seconds = 60 }, user_connections = 1 },
    ["/own"] = { validate = function(request)
        local ok, status = here.validate(request)
        return ok and { user = request.query.user } or nil, status
      end, user = "user" },
    ["/clash"] = { validate = function(request)
        local ok, status = here.validate(request)
        return ok and { user = "other", username = "ada" } or nil, status
      end },
  },
  http = { ["POST /run"] = here.route(function(request)
    return chunks.run(request.body, { tw = tw, record = record })
  end) },
}
]]
local TEXT = APP:gsub("USER", '"username"', 1)

describe("users", function()
  local app, next_worker

  setup(function() app = server.start { app = TEXT, options = { "--admin", "127.0.0.1:0" } } end)
  teardown(function() app:stop() end)
  before_each(function() next_worker = 0 end)

  local function connect(path)
    local peer = app:connect_on(next_worker, path .. (path:find("?") and "&" or "?") .. "hello=1")
    next_worker = (next_worker + 1) % app.workers
    local hello = peer:receive()
    return peer, hello
  end

  local run, check_got_only = chunks.ask, chunks.check_got_only
  local function run_outside(code, worker)
    local results = chunks.ask_on(app, worker or next_worker, code)
    return results
  end

  local function wait_for(code, expected)
    for worker = 0, app.workers - 1 do
      assert.equal(expected,
        loop.ask_until(function() return run_outside(code, worker) end, expected))
    end
  end

  after_each(function()
    stream.close_all()
    wait_for("return tw.stats().connections", "0")
  end)

  describe("the option `user`", function()
    it("names the user of a connection, before on_start", function()
      local _, hello = connect("/?user=ada")
      assert.equal("hello ada", hello)
      _, hello = connect("/")
      assert.equal("hello nil", hello)
    end)

    it("takes integers as their digits", function()
      local _, hello = connect("/?number=7")
      assert.equal("hello 7", hello)
      wait_for("return tw.user(7):online(), tw.user('7'):online(), tw.user(7.0) == tw.user('7')",
        "true true true")
      _, hello = connect("/function?odd=float")
      assert.equal("hello 7", hello)
      _, hello = connect("/function?odd=negative")
      assert.equal("hello -7", hello)
      wait_for("return #tw.user(7):connections(), #tw.user(-7):connections()", "2 1")
    end)

    it("takes texts as they are", function()
      local _, hello = connect("/?user=007")
      assert.equal("hello 007", hello)
      wait_for("return tw.user('007'):online(), tw.user(7):online()", "true false")
    end)

    it("takes any bytes, up to 256 of them", function()
      local peer = connect("/function?odd=bytes")
      assert.equal("true", run(peer, "return conn.user == '\\0\\255\\n'"))
      wait_for("return tw.user('\\0\\255\\n'):online(), tw.user('\\0\\255'):online()", "true false")
      peer = connect("/function?odd=longest")
      assert.equal("256", run(peer, "return #conn.user"))
    end)

    it("may be a function of the connection", function()
      local _, hello = connect("/function?odd=join")
      assert.equal("hello nil//function", hello)
      _, hello = connect("/function?odd=no")
      assert.equal("hello nil", hello)
    end)

    it("may name the field `user` of validate", function()
      local peer, hello = connect("/own?user=eve")
      assert.equal("hello eve", hello)
      local says = run(peer, "return select(2, pcall(function() conn.user = 'ada' end))")
      assert.matches("conn.user cannot be set: the option `user` of the handler decides it", says)
    end)

    it("refuses handshakes after an error, and says why in the log", function()
      for odd, why in pairs {
        throw = "on purpose",
        table = "user must return a string, an integer or nil; got table",
        boolean = "user must return a string, an integer or nil; got boolean",
        half = "user must return a string, an integer or nil; got 0.5",
        empty = 'user must return a string, an integer or nil; got \\"\\"',
        long = "an integer or nil; got 257 bytes; at most 256 are possible",
      } do
        local ok, problem = pcall(app.connect_on, app, next_worker, "/function?odd=" .. odd)
        assert.is_false(ok)
        assert.matches(" 500 ", problem)
        assert(app:wait_for_log("hook=user .*app.lua:%d+: .*" .. why:gsub("%p", "%%%0")))
      end
      local ok, problem = pcall(app.connect_on, app, next_worker, "/clash")
      assert.is_false(ok)
      assert.matches(" 500 ", problem)
      assert(app:wait_for_log("hook=user .*validate returned .*user"))
      wait_for("return tw.stats().connections", "0")
    end)
  end)

  describe("tw.user", function()
    it("sends to all connections of a user, in the order of broadcasts", function()
      local one, two = connect("/?user=ada"), connect("/json?user=ada")
      local three, other = connect("/?user=bob"), connect("/")
      assert.equal("0 2 4 2 0", run_outside([[
        local ada = tw.user("ada")
        local before = tw.user("joe"):send("nothing")
        return before, ada:send("one"), tw.broadcast("all"), ada:send("two"),
          tw.user("ad"):send("no")
      ]]))
      check_got_only(one, "one", "all", "two")
      for _, expected in ipairs { '"one"', '"all"', '"two"' } do
        assert.equal(expected, (two:receive()))
      end
      check_got_only(three, "all")
      check_got_only(other, "all")
    end)

    it("takes the options of a send, and `except`", function()
      local one, two = connect("/?user=ada"), connect("/?user=ada")
      assert.equal("1", run(one, "return tw.user('ada'):send('x', { except = conn })"))
      assert.equal("x", (two:receive()))
      assert.equal("1", run(two, "return tw.user('ada'):send('y', conn)"))
      assert.equal("y", (one:receive()))
      assert.equal("2", run_outside("return tw.user('ada'):send('\\255', 'binary')"))
      assert.same({ "\255", "binary" }, { one:receive() })
      assert.same({ "\255", "binary" }, { two:receive() })
      local says = run(one, [[
        return select(2, pcall(function() tw.user("ada"):send("\255") end)),
          select(2, pcall(function() tw.user("ada"):send("x", { excpet = conn }) end)),
          select(2, pcall(function() tw.user("ada").send("x") end)),
          select(2, pcall(function() return tw.user({}) end)),
          select(2, pcall(function() return tw.user("") end)),
          select(2, pcall(function() return tw.user(1.5) end)),
          select(2, pcall(function() return tw.user(("x"):rep(257)) end)),
          select(2, pcall(function() return tw.room("\0tidewire user\0ada") end)),
          select(2, pcall(function() return conn:join("\0tidewire user\0ada") end))
      ]])
      for _, text in ipairs {
        "code:1: user:send: text must be valid UTF-8",
        'code:2: user:send: unknown option "excpet"; did you mean "except"?',
        "code:3: user:send: call it with a colon, user:send(…)",
        "tw.user: a name is needed, got table", 'tw.user: a name is needed, got ""',
        "tw.user: a name is needed, got 1.5", "tw.user: a name is needed, got 257 bytes",
        "tw.room: this name belongs to the library; use tw.user",
        "conn:join: this name belongs to the library; use tw.user",
      } do
        assert.matches(text, says, 1, true)
      end
      assert.equal("", run(one, "return table.unpack(conn:rooms())"))
    end)

    it("closes all connections of a user, after what was sent", function()
      local one, two, three = connect("/?user=ada"), connect("/?user=ada"), connect("/?user=bob")
      assert.equal("2 2", run(three, [[
        local ada = tw.user("ada")
        return ada:send("last"), ada:close(4001, "banned")
      ]]))
      for _, peer in ipairs { one, two } do
        assert.equal("last", (peer:receive()))
        assert.same({ 4001, "banned" }, { peer:wait_closed() })
      end
      wait_for("return tw.user('ada'):online(), #tw.user('ada'):connections()", "false 0")
      assert.equal("0", run(three, "return tw.user('ada'):close()"))
      assert.equal("1", run_outside("return #tw.user('bob'):connections()"))
    end)

    it("has the ids of the connections, for tw.send", function()
      local one, two = connect("/?user=ada"), connect("/?user=ada")
      local ids = { run(one, "return conn.id"), run(two, "return conn.id") }
      local got = {}
      for id in run_outside("return table.unpack(tw.user('ada'):connections())"):gmatch("%S+") do
        got[#got + 1] = id
      end
      table.sort(ids)
      table.sort(got)
      assert.same(ids, got)
    end)
  end)

  describe("a limit of a user's connections", function()
    it("refuses more, and counts it", function()
      local one, two = connect("/two?user=ada"), connect("/two?user=ada")
      connect("/?user=ada") -- of another endpoint
      local three = app:connect_on(next_worker, "/two?user=ada")
      assert.same({ 4429, "too many connections of this user" }, { three:wait_closed() })
      connect("/two?user=bob")
      assert.matches('refused[%w_]*{reason="user_connections",[^}]*endpoint="/two"[^}]*} %d',
        http.request(app.admin, "/metrics").body)
      one:close()
      wait_for("return #tw.user('ada'):connections()", "2")
      connect("/two?user=ada")
      run(two, "return 1")
    end)

    it("counts no connection without a user", function()
      for _ = 1, 3 do connect("/two") end
    end)

    it("replaces the oldest one", function()
      local one = connect("/last?user=ada&mark=1")
      local two = connect("/last?user=ada&mark=2")
      assert.same({ 4409, "replaced by another connection of this user" }, { one:wait_closed() })
      local three = connect("/last?user=ada&mark=3")
      assert.same({ 4409, "replaced by another connection of this user" }, { two:wait_closed() })
      assert.equal("1", run(three, "return #tw.user('ada'):connections()"))
      connect("/last?user=bob&mark=4")
      run(three, "return 1")
      app:wait_event("closed", 2)
      assert.matches('reason="replaced_by_another_connection_of_this_user",code="4409"',
        http.request(app.admin, "/metrics").body, 1, true)
    end)

    it("holds when many clients come at once", function()
      local clients = {}
      for i = 1, 40 do
        clients[i] = app:connect("/two?user=ada&number=1")
      end
      local open = 0
      for _, peer in ipairs(clients) do
        peer:send_text("return #tw.user('ada'):connections()")
        local answer = peer:receive()
        if answer then
          assert.equal("= 2", answer)
          open = open + 1
        end
      end
      assert.equal(2, open)
    end)
  end)

  describe("a session", function()
    local function come(user, secret, received)
      local peer = app:connect(("/session?user=%s&session=%s&received=%d"):format(user,
        secret, received))
      local text, how = peer:receive()
      return peer, text or how
    end
    local ADA <const>, BOB <const> = ("a"):rep(32), ("b"):rep(32)

    it("keeps its user while it waits, and counts", function()
      local one, text = come("ada", ADA, 0)
      assert.matches('"resumed":false', text, 1, true)
      one:abort()
      wait_for("return tw.user('ada'):online(), tw.stats().sessions_waiting", "true 1")
      local other = app:connect("/session?user=ada")
      assert.equal(4429, (other:wait_closed()))
      assert.equal("1", run_outside("return tw.user('ada'):send('meanwhile')"))
      one, text = come("ada", ADA, 0)
      assert.matches('"resumed":true', text, 1, true)
      assert.equal("meanwhile", (one:receive()))
      assert.equal("ada 1", run(one, "return conn.user, #tw.user('ada'):connections()"))
      -- not resumed: the new session takes the place of the old one
      one:abort()
      wait_for("return tw.stats().sessions_waiting", "1")
      one, text = come("ada", ADA, 99)
      assert.matches('"resumed":false', text, 1, true)
      assert.equal("ada 1", run(one, "return conn.user, #tw.user('ada'):connections()"))
      one:send_text("conn:close()")
    end)

    it("is not resumed by another user", function()
      local one = come("ada", BOB, 0)
      one:abort()
      wait_for("return tw.stats().sessions_waiting", "1")
      local two, text = come("bob", BOB, 0)
      assert.matches('"resumed":false', text, 1, true)
      assert.equal("bob", run(two, "return conn.user"))
      wait_for("return tw.user('ada'):online()", "false")
      two:send_text("conn:close()")
    end)
  end)

  describe("presence by user", function()
    local WATCH = [[
      local function note(what, event)
        return function(one) record(what, event, one.user or one, tw.worker) end
      end
      _G.watch = tw.room("lobby"):watch { by = "user", on_join = note("by user", "join"),
        on_leave = note("by user", "leave") }
      _G.users = tw.watch_users(function(event, name) record("users", event, name, tw.worker) end)
      _G.plain = tw.room("lobby"):watch(function(event, member)
        record("plain", event, member.user, tw.worker) end)
    ]]
    local from

    before_each(function()
      from = {}
      for _, name in ipairs { "by user", "users", "plain" } do from[name] = #app:events(name) end
    end)

    local function events(name, worker)
      local list, all = {}, app:events(name)
      for i = from[name] + 1, #all do
        if all[i][all[i].n or #all[i]] == worker then
          list[#list + 1] = tostring(all[i][2]) .. " " .. tostring(all[i][3])
        end
      end
      return table.concat(list, ", ")
    end

    local function check(name, expected)
      for worker = 0, app.workers - 1 do
        assert.equal(expected,
          loop.ask_until(function() return events(name, worker) end, expected))
      end
    end

    local function watch_all()
      for worker = 0, app.workers - 1 do run_outside(WATCH, worker) end
    end

    after_each(function()
      for worker = 0, app.workers - 1 do
        run_outside("watch:cancel() users:cancel() plain:cancel()", worker)
      end
    end)

    it("comes with the first connection, and goes with the last one", function()
      watch_all()
      local one = connect("/?user=ada&rooms=lobby")
      local two = connect("/?user=ada&rooms=lobby")
      local three = connect("/?user=bob&rooms=lobby")
      local none = connect("/?rooms=lobby")
      wait_for("return table.concat(tw.room('lobby'):users(), ' ')", "ada bob")
      run(one, "conn:leave('lobby')")
      wait_for("return table.concat(tw.room('lobby'):users(), ' ')", "ada bob")
      two:close()
      wait_for("return table.concat(tw.room('lobby'):users(), ' ')", "bob")
      run(one, "conn:join('lobby')")
      one:drop()
      wait_for("return table.concat(tw.room('lobby'):users(), ' ')", "bob")
      three:close()
      none:close()
      check("by user", "join ada, join bob, leave ada, join ada, leave ada, leave bob")
      check("users", "online ada, online bob, offline ada, offline bob")
    end)

    it("knows the users of before the watch", function()
      local one = connect("/?user=ada&rooms=lobby")
      wait_for("return table.concat(tw.room('lobby'):users(), ' ')", "ada")
      watch_all()
      local two = connect("/?user=ada&rooms=lobby")
      one:close()
      wait_for("return #tw.user('ada'):connections()", "1")
      two:close()
      connect("/?user=bob")
      check("by user", "leave ada")
      check("users", "offline ada, online bob")
    end)

    it("has the same order on all workers", function()
      watch_all()
      local peers, expected = {}, {}
      for i = 1, 30 do
        peers[i] = connect(("/?user=u%d&rooms=lobby"):format(i % 7))
      end
      for _, peer in ipairs(peers) do peer:drop() end
      wait_for("return #tw.room('lobby'):users()", "0")
      local first
      for worker = 0, app.workers - 1 do
        loop.wait_until(function()
          local _, count = events("by user", worker):gsub("leave", "")
          return count == 7
        end)
        first = first or events("by user", worker)
        assert.equal(first, events("by user", worker))
      end
      assert.is_nil(next(expected))
    end)

    it("wants a known `by`", function()
      assert.matches('code:1: room:watch: by must be "user", got string "users"', run_outside(
        "return select(2, pcall(function() tw.room('x'):watch { on_join = print, by = 'users' } "
          .. "end))"))
      assert.matches("code:1: tw.watch_users: on_online or on_offline is needed", run_outside(
        "return select(2, pcall(function() tw.watch_users {} end))"))
      watch_all()
    end)

    it("is on members, too", function()
      watch_all()
      connect("/?user=ada&rooms=lobby")
      wait_for("return tw.room('lobby'):members()[1].user", "ada")
      check("plain", "join ada")
    end)
  end)
end)

describe("users and new code", function()
  local app
  before_each(function() app = server.start { app = (APP:gsub("USER", "nil", 1)) } end)
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  it("are decided anew for open connections", function()
    local ada, bob = app:connect("/?user=ada&odd=x"), app:connect("/?user=bob")
    local run = chunks.ask
    assert.equal("nil false", run(ada, "return conn.user, tw.user('ada'):online()"))
    reloads.good(app, TEXT)
    assert.equal("ada true bob", run(ada, "return conn.user, tw.user('ada'):online(), conn.user == "
      .. "'ada' and 'bob'"))
    assert.equal("bob", run(bob, "return conn.user"))
    reloads.good(app, (APP:gsub("USER", "function(conn) return conn.odd end", 1)))
    assert.equal("x", run(ada, "return conn.user"))
    assert.equal("nil", run(bob, "return conn.user"))
    assert.equal("false true", run(bob, "return tw.user('ada'):online(), tw.user('x'):online()"))
    reloads.good(app, (APP:gsub("USER", "function(conn) error('on purpose') end", 1)))
    assert.equal("x", run(ada, "return conn.user"))
    assert(app:wait_for_log("hook=user .*on purpose"))
    reloads.good(app, (APP:gsub("USER", "nil", 1)))
    assert.equal("x false", run(ada, "return conn.user, tw.user('x'):online()"))
    assert.equal("y", run(ada, "conn.user = 'y' return conn.user"))
  end)

  it("may have more connections than a lower limit, until the next one comes", function()
    local function with_limit(limit)
      return (TEXT:gsub("user_connections = 1, user_limit",
        ("user_connections = %d, user_limit"):format(limit), 1))
    end
    reloads.good(app, with_limit(9))
    local peers = {}
    for i = 1, 6 do
      peers[i] = app:connect_on(i % app.workers, "/last?user=ada&mark=" .. i)
      chunks.ask(peers[i], "return 1")
    end
    reloads.good(app, with_limit(3))
    assert.equal("6", chunks.ask(peers[6], "return #tw.user('ada'):connections()"))
    peers[7] = app:connect_on(0, "/last?user=ada&mark=7")
    for i = 1, 4 do
      assert.equal(4409, (peers[i]:wait_closed()))
    end
    for i = 5, 7 do
      assert.equal("ada", chunks.ask(peers[i], "return conn.user"))
    end
  end)
end)

describe("users over a restart", function()
  it("keep their sessions, and are online", function()
    local folder = process.make_directory()
    local options = { "--state", folder .. "/app.state" }
    local path = "/session?user=ada&session=" .. ("r"):rep(32) .. "&received=0"
    local first = server.start { app = TEXT, options = options }
    local peer = first:connect(path)
    assert.matches('"resumed":false', (peer:receive()), 1, true)
    first:signal("sigterm")
    assert.equal(1012, (peer:wait_closed()))
    assert.equal(0, (first.process:wait_exit(loop.patience + 15)), first:log())
    first:stop()
    local app = server.start { app = TEXT, options = options }
    local other = app:connect("/")
    assert.equal("true 1", chunks.ask(other, "local ada = tw.user('ada') return ada:online(), "
      .. "ada:send('after the restart')"))
    assert.equal(4429, (app:connect("/session?user=ada"):wait_closed()))
    peer = app:connect(path)
    assert.matches('"resumed":true', (peer:receive()), 1, true)
    assert.equal("after the restart", (peer:receive()))
    assert.equal("ada 1", chunks.ask(peer, "return conn.user, #tw.user('ada'):connections()"))
    stream.close_all()
    app:stop()
    process.remove_directory(folder)
  end)
end)
