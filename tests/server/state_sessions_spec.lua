-- state_sessions_spec.lua -- sessions over a restart: with the state file a client that comes back
-- to the next process finds its session, with what it has not got.

local cjson = require "cjson"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local tw = require "tidewire"
local record = require "record"
return {
  state = "app.state",
  on_load = function() tw.room("hall"):watch({ on_join = function() end }) end,
  rooms = { ["log:*"] = { history = 10 } },
  endpoints = {
    ["/%s"] = {
      user = function(conn) return conn.nick end,
      codec = "%s", ping_period = 0, %s
      validate = function(request) return { nick = request.query.name } end,
      on_start = function(conn) record("start", conn.id) conn.told = {} end,
      on_resume = function(conn) record("resume", conn.id) end,
      on_close = function(conn, code, reason) record("close", conn.id, code, reason) end,
      handle_message = function(conn, message)
        message = type(message) == "table" and message.text or message
        conn.told[#conn.told + 1] = message
        if message == "join" then
          conn:join("hall", { name = conn.nick })
          conn.socket, conn.other = print, { deep = { [1] = conn } }
        elseif message == "away" then
          conn:after(0, function()
            for i = 1, 5 do conn:send("later " .. i) end
          end)
        elseif message == "facts" then
          conn:send(table.concat({ conn.id, conn.nick, #conn.told, table.concat(conn:rooms(), "+"),
            conn.request.query.more or "-", tostring(conn.socket), conn.path,
            math.type(conn.started_at) }, " "))
          return
        elseif message:find("^to ") then
          conn:send(tostring(tw.send(message:sub(4), "a word for you")))
          return
        elseif message == "members" then
          local names = {}
          for _, member in ipairs(tw.room("hall"):members()) do
            names[#names + 1] = (member.info or {}).name .. "=" .. member.id
          end
          conn:send(table.concat(names, ","))
          return
        elseif message == "remember" then
          for i = 1, 12 do tw.room("log:a"):broadcast("line " .. i) end
        elseif message == "history" then
          local epoch, offset = tw.room("log:a"):offset()
          local list = tw.room("log:a"):history()
          conn:send(("%%s %%d %%d %%s"):format(epoch, offset, #list, list[1].payload))
          return
        elseif message == "user" then
          conn:send(conn.user .. " " .. tostring(tw.user("ada"):online()))
          return
        elseif message == "shout" then
          tw.room("hall"):broadcast("hear!")
        end
        conn:send("echo " .. message)
      end,
    },
  },
}
]]
local RESUME = "resume = { seconds = 600 },"
local app = APP:format("chat", "text", RESUME)

describe("a session over a restart", function()
  local folder, file
  local servers, clients

  before_each(function()
    folder = process.make_directory()
    file = folder .. "/app.state"
    servers, clients = {}, {}
  end)
  after_each(function()
    stream.close_all()
    for _, one in ipairs(servers) do one:stop() end
    process.remove_directory(folder)
  end)

  local function start(options)
    options = options or {}
    options.app, options.options = options.app or app, { "--state", file }
    local one = server.start(options)
    servers[#servers + 1] = one
    return one
  end

  local function secret(name) return name .. ("x"):rep(20) end

  -- A client, and whether its session was resumed, and how many of its messages were received.
  local function connect(one, name, received, more)
    local peer = one:connect(("/chat?session=%s&received=%d&name=%s%s")
      :format(secret(name), received or 0, name, more or ""))
    local first = cjson.decode((peer:receive()))
    assert.equal("session", first.type)
    clients[#clients + 1] = peer
    return peer, first.resumed, first.received
  end

  -- Ends it while its clients are connected. They answer its Close frames, or are silent.
  local function stop(one, are_silent)
    one:signal("sigterm")
    for _, peer in ipairs(are_silent and {} or clients) do peer:wait_closed() end
    assert.equal(0, (one.process:wait_exit(loop.patience + 15)), one:log())
    one.last, one.records = one:log(), one:event_names()
    one:stop()
    return one
  end

  it("goes on, with its id, its fields, its request and its rooms", function()
    local first = start()
    local ada = connect(first, "ada", 0, "&more=1")
    assert.equal("echo join", (ada:ask("join")))
    local id, facts = ada:ask("facts"):match("^(%S+) (.*)$")
    assert.equal("ada 2 hall 1 function", facts:match("^(.- function)"))
    first:signal("sigterm")
    assert.equal(1012, (ada:wait_closed()))
    local ended = stop(first)
    assert.equal("start", ended.records) -- no on_close
    local line = ended.last:match("event=left_out[^\n]*")
    assert.matches("conn%(/chat%)%.socket", line)
    assert.matches("conn%(/chat%)%.other%.deep%[1%]", line)
    assert.matches("event=state_written .-sessions=1 ", ended.last)

    local second = start()
    assert.matches("event=state_taken .-sessions=1 ", second:log())
    local bob = connect(second, "bob")
    assert.equal("ada=" .. id, (bob:ask("members")))
    assert.equal("true", (bob:ask("to " .. id))) -- it waits
    assert.equal("echo shout", (bob:ask("shout")))
    local again, resumed, received = connect(second, "ada", 2)
    assert.is_true(resumed)
    assert.equal(2, received)
    assert.equal("a word for you", (again:receive()))
    assert.equal("hear!", (again:receive()))
    assert.matches("^" .. id .. " ada 3 hall %- nil /chat", (again:ask("facts")))
    again:close(1000)
    second:wait_event("close")
    assert.equal("nil", (bob:ask("to " .. id)))
  end)

  it("gives the client what it has not got, once and in order", function()
    local first = start()
    local ada = connect(first, "ada")
    for i = 1, 3 do assert.equal("echo " .. i, (ada:ask(tostring(i)))) end
    ada:ask("away")
    for i = 1, 5 do assert.equal("later " .. i, (ada:receive())) end
    stop(first)
    local again, resumed, received = connect(start(), "ada", 4)
    assert.is_true(resumed)
    assert.equal(4, received)
    for i = 1, 5 do assert.equal("later " .. i, (again:receive())) end
    assert.equal("echo 9", (again:ask("9")))
    -- another restart, with what came after
    stop(servers[2])
    again, resumed, received = connect(start(), "ada", 9)
    assert.is_true(resumed)
    assert.equal(5, received)
    assert.equal("echo 9", (again:receive()))
    assert.equal("echo end", (again:ask("end")))
  end)

  it("goes on where it had lost its socket before", function()
    local first = start()
    local ada = connect(first, "ada")
    ada:ask("1")
    ada:abort()
    local bob = connect(first, "bob")
    bob:ask("1")
    stop(first, true)
    local second = start()
    for _, name in ipairs { "ada", "bob" } do
      local again, resumed, received = connect(second, name, 0)
      assert.same({ true, 1 }, { resumed, received })
      assert.equal("echo 1", (again:receive()))
    end
    assert.equal("resume resume", second:event_names())
  end)

  it("is kept with another number of workers", function()
    local first, names, ids = start({ workers = 3 }), {}, {}
    for i = 1, 20 do
      local name = "client" .. i
      names[i] = connect(first, name)
      ids[i] = names[i]:ask("facts"):match("^%S+")
    end
    stop(first)
    local second = start({ workers = 2 })
    for i = 1, 20 do
      local again, resumed = connect(second, "client" .. i, 1)
      assert.is_true(resumed)
      assert.equal(ids[i], again:ask("facts"):match("^%S+"))
    end
  end)

  it("ends in the next process when its time is over", function()
    local short = APP:format("chat", "text", "resume = { seconds = 5 },")
    local first = start({ app = short })
    local ada = connect(first, "ada")
    local id = ada:ask("facts"):match("^%S+")
    first:signal("sigterm")
    assert.equal(1012, (ada:wait_closed()))
    assert.equal("start", stop(first).records)
    local second = start({ app = short })
    local event = second:wait_event("close")
    assert.same({ id, 1012, "session expired" }, { table.unpack(event, 2) })
    local _, resumed = connect(second, "ada", 1)
    assert.is_false(resumed)
  end)

  for what, other in pairs {
    ["no such endpoint"] = APP:format("game", "text", RESUME),
    ["its endpoint has no sessions"] = APP:format("chat", "text", ""),
    ["its endpoint has another codec"] = APP:format("chat", "json", RESUME),
  } do
    it("ends where the next app has no place for it: " .. what, function()
      local first = start()
      connect(first, "ada")
      connect(first, "bob")
      stop(first)
      local second = start({ app = other })
      local lines = second:log_lines("warn .-event=left_out")
      assert.equal(1, #lines)
      assert.matches('sessions=2 why="' .. what, lines[1])
      assert.matches("event=state_taken .-sessions=0 ", second:log())
    end)
  end

  it("finds what the rooms remember", function()
    local first = start()
    local ada = connect(first, "ada")
    ada:ask("remember")
    local history = ada:ask("history")
    assert.matches("^%S+ 12 10 line 3$", history)
    stop(first)
    local second = start()
    local bob = connect(second, "bob")
    assert.equal(history, (bob:ask("history")))
    bob:ask("remember")
    assert.equal((history:gsub("12 10 line 3", "24 10 line 3")), (bob:ask("history")))
  end)

  it("has its user, who is online", function()
    local first = start()
    connect(first, "ada"):ask("1")
    stop(first)
    local second = start()
    local bob = connect(second, "bob")
    assert.equal("bob true", (bob:ask("user")))
    local ada = connect(second, "ada", 1)
    assert.equal("ada true", (ada:ask("user")))
    ada:close(1000)
    second:wait_event("close")
    assert.equal("bob false", (bob:ask("user")))
  end)

  it("is nobody else's", function()
    local first = start()
    connect(first, "ada"):ask("1")
    stop(first)
    local second = start()
    local _, resumed = connect(second, "bob", 0)
    assert.is_false(resumed)
    _, resumed = connect(second, "ada", 2) -- it has got 1
    assert.is_false(resumed)
  end)

  it("ends without a state file", function()
    local one = server.start({ app = app:gsub('state = "app.state",', "") })
    servers[#servers + 1] = one
    local ada = connect(one, "ada")
    one:signal("sigterm")
    assert.equal(1001, (ada:wait_closed()))
    assert.equal(1001, one:wait_event("close")[3])
  end)
end)
