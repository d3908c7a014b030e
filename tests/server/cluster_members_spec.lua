-- cluster_members_spec.lua -- who is in a room, over several machines: sizes, members, watches,
-- users; and that it is right again after each fault.

local chunks = require "support.chunks"
local cluster = require "support.cluster"
local loop = require "support.loop"
local stream = require "support.stream"

-- Clients send Lua code. ?user=ada is the user, ?rooms=a,b are joined, with the user as info. What
-- a worker watches is appended to a list, which `seen` returns.
local APP = [[
local chunks = require "chunks"
local here = require "here"
local tw = require "tidewire"

local events = {}
local function note(...) events[#events + 1] = table.concat({ ... }, " ") end
function seen() return table.concat(events, ", ") end
function forget() events = {} end
function of(name)
  local some = {}
  for _, event in ipairs(events) do
    if event:find(name, 1, true) then some[#some + 1] = event end
  end
  return table.concat(some, ", ")
end

function watch(room, by)
  return tw.room(room):watch {
    by = by,
    on_join = function(member) note("+" .. (member.user or member.id)) end,
    on_leave = function(member) note("-" .. (member.user or member.id)) end,
  }
end

function watch_users()
  return tw.watch_users {
    on_online = function(name) note("on", name) end,
    on_offline = function(name) note("off", name) end,
  }
end

local function list(room)
  local names = {}
  for _, member in ipairs(tw.room(room):members()) do
    names[#names + 1] = (member.info or "-") .. "@" .. member.name
  end
  table.sort(names)
  return #names .. "/" .. tw.room(room):size() .. ": " .. table.concat(names, " ")
end
_G.list = list

return {
  cluster = { url = "redis://127.0.0.1:1", lease = LEASE },
  rooms = { ["quiet:*"] = { presence = false } },
  limits = LIMITS,
  defaults = {
    validate = function(request)
      local ok, status = here.validate(request)
      if not ok then return nil, status end
      return { username = request.query.user }
    end,
    user = "username",
    ping_period = 0,
    on_start = function(conn)
      for room in (conn.query.rooms or ""):gmatch("[%w:]+") do conn:join(room, conn.user) end
      conn:send(conn.id)
    end,
    handle_message = function(conn, code)
      conn:send(chunks.run(code, { conn = conn, tw = tw }))
    end,
  },
  endpoints = {
    ["/"] = {},
    ["/one"] = { user_connections = 1, user_limit = "replace" },
    ["/refuse"] = { user_connections = 1 },
  },
  http = { ["POST /run"] = here.route(function(request)
    return chunks.run(request.body, { tw = tw })
  end) },
}
]]

local missing = cluster.missing()
if missing then
  return it("members of a cluster", function() pending(missing) end)
end

local function app(lease, limits)
  return (APP:gsub("LEASE", tostring(lease)):gsub("LIMITS", limits or "nil"))
end

local function connect(one, path)
  local peer = one:connect_on(math.random(0, one.workers - 1), path)
  return peer, (peer:receive())
end

local function run(one, code)
  return chunks.ask_on(one, 0, code)
end

-- Asks until the answer is this one.
local function wait_for(one, code, expected, seconds)
  local got
  if not loop.wait_until(function()
    got = run(one, code)
    return got == expected
  end, seconds or 5) then
    error(("%s: expected %s, got %s"):format(code, expected, got), 2)
  end
end

for _, workers in ipairs { 1, 3 } do
  describe(("two machines with %d worker%s"):format(workers, workers == 1 and "" or "s"), function()
    local group
    setup(function() group = cluster.start({ app = app(10), workers = workers }) end)
    teardown(function() group:stop() end)
    after_each(stream.close_all)

    it("counts and lists the members of both", function()
      connect(group[1], "/?user=ada&rooms=hall")
      connect(group[2], "/?user=bob&rooms=hall")
      wait_for(group[1], "return list('hall')", "2/2: ada@/ bob@/")
      wait_for(group[2], "return list('hall')", "2/2: ada@/ bob@/")
      assert.equal("ada bob", run(group[2], "return table.concat(tw.room('hall'):users(), ' ')"))
    end)

    it("knows a room that this machine has no part of when it is asked", function()
      local ada = connect(group[1], "/?user=ada&rooms=far")
      wait_for(group[2], "return list('far')", "1/1: ada@/")
      ada:close()
      wait_for(group[2], "return list('far')", "0/0: ")
    end)

    it("gives ids by which members can be sent to", function()
      local _, id = connect(group[1], "/?user=ada&rooms=ids")
      local bob = connect(group[2], "/")
      wait_for(group[2], "return list('ids')", "1/1: ada@/")
      assert.equal("= " .. id, (bob:ask("return tw.room('ids'):members()[1].id")))
    end)

    it("replaces the info of a member", function()
      local ada = connect(group[1], "/?user=ada&rooms=info")
      wait_for(group[2], "return list('info')", "1/1: ada@/")
      ada:ask("conn:join('info', 'away')")
      wait_for(group[2], "return list('info')", "1/1: away@/")
    end)

    it("reports joins and leaves on the other machine, and not those from before", function()
      local before = connect(group[1], "/?user=old&rooms=seen")
      wait_for(group[2], "return list('seen')", "1/1: old@/")
      run(group[2], "forget() _G.watched = watch('seen')")
      local ada = connect(group[1], "/?user=ada&rooms=seen")
      wait_for(group[2], "return seen()", "+ada")
      ada:close()
      wait_for(group[2], "return seen()", "+ada, -ada")
      before:close()
      wait_for(group[2], "return seen()", "+ada, -ada, -old")
      run(group[2], "watched:cancel()")
    end)

    it("watches users of a room by their first and last connection on any machine", function()
      connect(group[1], "/?user=old&rooms=by")
      wait_for(group[2], "return tw.room('by'):size()", "1")
      run(group[2], "forget() _G.watched = watch('by', 'user')")
      local peers = {}
      for i = 1, 2 do peers[i] = connect(group[i], "/?user=ada&rooms=by") end
      peers[3] = connect(group[2], "/?user=old&rooms=by")
      wait_for(group[2], "return tw.room('by'):size()", "4")
      wait_for(group[2], "return seen()", "+ada")
      peers[2]:close()
      peers[3]:close()
      wait_for(group[2], "return tw.room('by'):size()", "2")
      peers[1]:close()
      wait_for(group[2], "return seen()", "+ada, -ada")
      run(group[2], "watched:cancel()")
    end)

    it("counts the members of both as receivers of a broadcast", function()
      local ada = connect(group[1], "/?user=ada&rooms=heard")
      local bob, bob_id = connect(group[2], "/?user=bob&rooms=heard")
      wait_for(group[1], "return tw.room('heard'):size()", "2")
      assert.equal("2", run(group[1], "return (tw.room('heard'):broadcast('x'))"))
      assert.equal("1", run(group[1],
        ("return (tw.room('heard'):broadcast('y', { except = %q }))"):format(bob_id)))
      assert.same({ "x", "y" }, ada:receive_many(2))
      assert.equal("x", (bob:receive()))
    end)

    it("leaves the members of rooms without presence to their machine", function()
      local ada = connect(group[1], "/?user=ada&rooms=quiet:one")
      local bob = connect(group[2], "/?user=bob&rooms=quiet:one,loud")
      wait_for(group[1], "return list('loud')", "1/1: bob@/") -- which joined later
      assert.equal("1/1: ada@/", run(group[1], "return list('quiet:one')"))
      assert.equal("1/1: bob@/", run(group[2], "return list('quiet:one')"))
      run(group[1], "tw.room('quiet:one'):broadcast('for both')")
      assert.equal("for both", (ada:receive()))
      assert.equal("for both", (bob:receive()))
    end)

    it("knows the connections of a user, sends to them and closes them", function()
      local one, one_id = connect(group[1], "/?user=carol")
      local two, two_id = connect(group[2], "/?user=carol")
      wait_for(group[1], "return #tw.user('carol'):connections()", "2")
      local ids = { one_id, two_id }
      table.sort(ids)
      assert.equal(table.concat(ids, " "), run(group[2],
        "local ids = tw.user('carol'):connections() table.sort(ids) return table.concat(ids, ' ')"))
      assert.equal("true false",
        run(group[1], "return tw.user('carol'):online(), tw.user('nobody'):online()"))
      run(group[2], "tw.user('carol'):send('hello')")
      assert.equal("hello", (one:receive()))
      assert.equal("hello", (two:receive()))
      assert.equal("2", run(group[1], "return tw.user('carol'):close(4001, 'enough')"))
      assert.same({ 4001, 4001 }, { (one:wait_closed()), (two:wait_closed()) })
      wait_for(group[1], "return tw.user('carol'):online()", "false")
    end)

    it("counts a user's connections on both for user_connections", function()
      local first = connect(group[1], "/refuse?user=gina")
      wait_for(group[2], "return tw.user('gina'):online()", "true")
      local second = group[2]:connect("/refuse?user=gina")
      assert.same({ 4429, "too many connections of this user" }, { second:wait_closed() })
      assert.equal("= true", (first:ask("return conn:is_open()")))
      local old = connect(group[1], "/one?user=hugo")
      wait_for(group[2], "return tw.user('hugo'):online()", "true")
      local new = connect(group[2], "/one?user=hugo")
      assert.same({ 4409, "replaced by another connection of this user" }, { old:wait_closed() })
      assert.equal("= true", (new:ask("return conn:is_open()")))
    end)

    it("reports users that come online first and go offline last, once on each machine", function()
      for i = 1, 2 do
        run(group[i], "forget() _G.watched = watch_users()")
      end
      -- a user of the other machine whose events come shows that the list of users has been read
      for i = 1, 2 do
        local probes = 0
        assert(loop.wait_until(function()
          probes = probes + 1
          connect(group[3 - i], ("/?user=probe%d%d"):format(i, probes)):close()
          return run(group[i], "return seen():find('off probe" .. i .. "') ~= nil") == "true"
        end, 5))
      end
      local one = connect(group[1], "/?user=dora")
      for i = 1, 2 do wait_for(group[i], "return of('dora')", "on dora") end
      local two = connect(group[2], "/?user=dora")
      wait_for(group[1], "return #tw.user('dora'):connections()", "2")
      wait_for(group[2], "return #tw.user('dora'):connections()", "2")
      one:close()
      wait_for(group[1], "return #tw.user('dora'):connections()", "1")
      wait_for(group[2], "return #tw.user('dora'):connections()", "1")
      for i = 1, 2 do assert.equal("on dora", run(group[i], "return of('dora')")) end
      two:close()
      for i = 1, 2 do wait_for(group[i], "return of('dora')", "on dora, off dora") end
      for i = 1, 2 do run(group[i], "watched:cancel()") end
    end)
  end)
end

it("keeps sizes but no more texts beyond limits.cluster_members", function()
  local group <close> = cluster.start({ app = app(10, "{ cluster_members = '64K' }"), workers = 1 })
  local ada = connect(group[1], "/?user=ada")
  ada:ask("for i = 1, 30 do conn:join('big' .. i, ('x'):rep(3000)) end return 1")
  local asker = connect(group[2], "/")
  wait_for(group[2], "return tw.room('big30'):size()", "1")
  local answer = asker:ask([[
    local sizes, members = 0, 0
    for i = 1, 30 do
      local room = tw.room("big" .. i)
      sizes, members = sizes + room:size(), members + #room:members()
    end
    return sizes, members]])
  local sizes, members = answer:match("^= (%d+) (%d+)$")
  assert.equal("30", sizes)
  assert.is_true(tonumber(members) > 10 and tonumber(members) < 30)
  cluster.wait_for_log(group[2], "event=cluster_members_full")
  stream.close_all()
end)
