-- workers_spec.lua -- several workers act as one: messages, rooms, counters, limits and order, over
-- all of them. workers_lifecycle_spec.lua tests how workers start and end, rooms_spec.lua rooms,
-- rooms_model_spec.lua and rooms_storm_spec.lua long random runs.

local cjson = require "cjson"
local chunks = require "support.chunks"
local client = require "support.client"
local http = require "support.http"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

-- Two in the plain run, else the number of the run.
local WORKERS = math.max(2, tonumber(os.getenv("TIDEWIRE_TEST_WORKERS") or 1))

-- Clients say what is to be done as Lua code, and so does POST /run; "= " and its results is the
-- answer. In it: conn, tw, ids; `ids:get "ada"` is the id of the client that came with ?name=ada.
local APP = [[
local chunks = require "chunks"
local here = require "here"
local record = require "record"
local tw = require "tidewire"

local ids, counts = tw.shared("ids"), tw.shared("counts")

-- All workers load at once: their steps meet here.
for number = 1, 20000 do
  counts:incr("loads")
  if counts:add("number " .. number % 100, tw.worker) then counts:incr("added") end
end

tw.room("lobby"):watch(function(event, member)
  record(event, tw.worker, member.info.name, member.name)
end)

local function run(conn, code)
  local ok, answer = pcall(chunks.run, code, { conn = conn, tw = tw, ids = ids, counts = counts })
  return ok and answer or "= " .. answer
end

local own = {
  decode = function(payload) return payload end,
  encode = function(value)
    local word = type(value) == "table" and value.word or value
    return "own:" .. word, #word % 2 == 0 and "binary" or "text"
  end,
}

return {
  admin = "127.0.0.1:0",
  defaults = {
    validate = here.validate,
    ping_period = 0,
    max_backlog = "64M",
    handler_timeout = 30, -- hooks that send megabytes, under sanitizers
    on_start = function(conn)
      ids:set(conn.query.name, conn.id)
      conn:send(conn.name == "own" and { word = "hello" } or "hello")
    end,
    on_error = function() return false end,
  },
  endpoints = {
    ["/"] = { handle_message = function(conn, code) conn:send(run(conn, code)) end },
    ["/text"] = {},
    ["/json"] = { codec = "json" },
    ["/binary"] = { codec = "binary" },
    ["/own"] = { codec = own, name = "own" },
    ["/slow"] = { slow_client = "conflate" },
    ["/faulty"] = { handle_message = function() error("on request") end },
  },
  http = {
    ["POST /run"] = here.route(function(request) return run(nil, request.body) end),
    ["/stats"] = here.route(function() return tw.json.encode(tw.stats()) end),
  },
}
]]

local app

--- A client with a name, on this worker.
local function connect(worker, name, path, options)
  local peer = app:connect_on(worker, ("%s?name=%s"):format(path or "/", name), options)
  assert.matches("hello", (peer:receive()))
  return peer
end

local run, check_got_only = chunks.ask, chunks.check_got_only

--- The same on no connection.
local function run_on(worker, code)
  local results = chunks.ask_on(app, worker, code)
  return results
end

--- Asks until the answer is true.
local function ask_until(f)
  assert.is_true(loop.ask_until(f, true))
end

describe("with several workers", function()
  lazy_setup(function() app = server.start({ app = APP, workers = WORKERS }) end)
  lazy_teardown(function() app:stop() end)
  after_each(function()
    stream.close_all()
    ask_until(function()
      return cjson.decode(http.request(app.admin, "/stats").body).connections == 0
    end)
  end)

  describe("tw.close", function()
    it("closes a connection of any worker, behind what was sent to it", function()
      local ada = connect(0, "ada")
      for worker = 0, WORKERS - 1 do
        local bob = connect(worker, "bob")
        assert.equal("true true", run(ada, [[return tw.send(ids:get "bob", "last"),
          tw.close(ids:get "bob", 4003, "kicked: é")]]))
        assert.equal("last", (bob:receive()))
        assert.same({ 4003, "kicked: é" }, { bob:wait_closed() })
        assert.is_truthy(loop.ask_until(function()
          return run(ada, [[return tw.close(ids:get "bob")]])
        end, "nil closed"))
      end
    end)
  end)

  describe("a broadcast", function()
    it("leaves out a connection of any worker, known by its id", function()
      local ada = connect(0, "ada")
      run(ada, "conn:join('hall')")
      for worker = 0, WORKERS - 1 do
        local bob = connect(worker, "bob")
        run(bob, "conn:join('hall')")
        for from = 0, WORKERS - 1 do
          assert.equal("1 1", run_on(from, [[
            return tw.room("hall"):broadcast("one", { except = ids:get "bob" }),
            tw.broadcast("all", { except = ids:get "bob", endpoint = "/" })]]))
          check_got_only(ada, "one", "all")
        end
        check_got_only(bob)
        bob:close()
        ask_until(function() return run(ada, "return tw.room('hall'):size()") == "1" end)
      end
    end)
  end)

  describe("tw.send", function()
    it("reaches a connection of any worker, through its codec", function()
      local ada = connect(0, "ada")
      for worker = 0, WORKERS - 1 do
        local text, json = connect(worker, "text", "/text"), connect(worker, "json", "/json")
        local binary, own = connect(worker, "binary", "/binary"), connect(worker, "own", "/own")
        assert.equal("true true true", run(ada, [[return tw.send(ids:get "text", "hi"),
          tw.send(ids:get "text", 7), tw.send(ids:get "text", "b", "binary")]]))
        assert.same({ "hi", "text" }, { text:receive() })
        assert.same({ "7", "text" }, { text:receive() })
        assert.same({ "b", "binary" }, { text:receive() })
        assert.equal("true", run(ada, [[return tw.send(ids:get "json", { a = { 1, tw.null } })]]))
        assert.same({ '{"a":[1,null]}', "text" }, { json:receive() })
        assert.equal("true", run(ada, [[return tw.send(ids:get "binary", "\xff\0")]]))
        assert.same({ "\xff\0", "binary" }, { binary:receive() })
        assert.equal("true true", run(ada,
          [[return tw.send(ids:get "own", { word = "odd" }),
            tw.send(ids:get "own", { word = "even" })]]))
        assert.same({ "own:odd", "text" }, { own:receive() })
        assert.same({ "own:even", "binary" }, { own:receive() })
      end
    end)

    it("carries large messages, and many, in order", function()
      local ada, bob = connect(0, "ada"), connect(1, "bob", "/text")
      run(ada,
        [[for number = 1, 2000 do tw.send(ids:get "bob", number .. ("x"):rep(number * 7)) end]])
      run(ada, [[tw.send(ids:get "bob", ("y"):rep(800000))]])
      for number, message in ipairs(bob:receive_many(2000)) do
        assert.equal(number, tonumber((message:match("^%d+"))))
        assert.equal(#tostring(number) + number * 7, #message)
      end
      assert.equal(("y"):rep(800000), (bob:receive()))
    end)

    it("replaces what waits under the same key", function()
      local ada, bob = connect(0, "ada"), connect(1, "bob", "/slow", { receive_buffer = 65536 })
      bob.stream:pause()
      local before = cjson.decode(app:http_on(0, "/stats").body).messages_replaced
      run(ada, [[
        local bob = ids:get "bob"
        for _ = 1, 200 do tw.send(bob, ("x"):rep(100000)) end -- more than the sockets hold
        for number = 1, 3 do
          tw.send(bob, "a" .. number, { key = "a" })
          tw.send(bob, "b" .. number, { key = "b" })
        end
        tw.send(bob, "end")]])
      ask_until(function()
        return cjson.decode(http.request(app.admin, "/stats").body).messages_replaced == before + 4
      end)
      bob.stream:catch_up()
      local last = bob:receive_many(203)
      assert.same({ "a3", "b3", "end" }, { last[201], last[202], last[203] })
    end)

    it("answers nil, \"closed\" for one that is gone", function()
      local ada, bob = connect(0, "ada"), connect(1, "bob")
      assert.equal("true", run(ada, [[return tw.send(ids:get "bob", "hi")]]))
      check_got_only(bob, "hi")
      bob:close(1000)
      assert.equal("nil closed", run(ada, [[return tw.send(ids:get "bob", "hi")]]))
      local heir = connect(1, "heir")
      assert.equal("nil closed", run(ada, [[return tw.send(ids:get "bob", "hi")]]))
      check_got_only(heir)
    end)

    it("throws for misuse at the script's line, for any receiver", function()
      local ada = connect(0, "ada")
      connect(1, "text", "/text")
      connect(1, "own", "/own")
      for code, message in pairs({
        ['tw.send(ids:get "text", {})'] =
          'code:2: tw.send: a string is needed for the codec "text", got table',
        ['tw.send(ids:get "text", "\\xff")'] = "code:2: tw.send: text must be valid UTF-8",
        ['tw.send(ids:get "text", "x", "gif")'] =
          'code:2: tw.send: kind must be "text" or "binary", got gif',
        ['tw.send(ids:get "text", "x", { key = 7 })'] =
          "code:2: tw.send: key must be a string, got number",
        ['tw.send(ids:get "own", {})'] = "app.lua:%d+: attempt to concatenate a table value",
      }) do
        local answer = run(ada, "\n" .. code)
        assert.is_truthy(answer:find(message, 1, true) == 1 or answer:find("^" .. message), answer)
      end
    end)
  end)

  describe("a room", function()
    -- Two clients on each worker, in the order of joining: { name =, peer =, worker = }
    local members

    before_each(function()
      members = {}
      for index = 1, 2 * WORKERS do
        local worker, name = index % WORKERS, "m" .. index
        members[index] = { name = name, worker = worker, peer = connect(worker, name) }
        run(members[index].peer,
          ("return conn:join('lobby', { name = %q, level = %d })"):format(name, index))
      end
    end)

    --- The members, as this worker sees them: "m1=1 m2=2 …", the level behind the name.
    local function members_of(worker)
      return run_on(worker, [[
        local list = {}
        for _, member in ipairs(tw.room("lobby"):members()) do
          assert(member.name == "/" and member.id == ids:get(member.info.name))
          list[#list + 1] = member.info.name .. "=" .. member.info.level
        end
        table.sort(list)
        assert(tw.room("lobby"):size() == #list)
        return table.concat(list, " ")]])
    end

    it("tells its size and its members on each worker", function()
      run(members[1].peer, "conn:join('lobby', { name = 'm1', level = 'other' })")
      run(members[3].peer, "conn:leave('lobby')")
      members[4].peer:close(1000)
      local expected = { "m1=other", "m2=2" }
      for index = 5, 2 * WORKERS do expected[#expected + 1] = ("m%d=%d"):format(index, index) end
      for worker = 0, WORKERS - 1 do
        assert.equal(table.concat(expected, " "), members_of(worker))
      end
    end)

    it("tells watchers on each worker of each join and leave, once and in order", function()
      local seen = #app:events("leave")
      run(members[2].peer, "conn:join('lobby', { name = 'm2', level = 'other' })") -- is in already
      local expected = { join = {}, leave = {} }
      for index, member in ipairs(members) do
        if index % 2 == 0 then
          run(member.peer, "conn:leave('lobby')")
        else
          member.peer:close(1000)
          app:wait_event("leave", seen + index * WORKERS)
        end
        expected.join[index], expected.leave[index] = member.name, member.name
      end
      app:wait_event("leave", seen + #members * WORKERS)
      for _, what in ipairs({ "join", "leave" }) do
        for worker = 0, WORKERS - 1 do
          local names = {}
          for _, event in ipairs(app:events(what)) do
            if event[2] == worker then
              names[#names + 1] = event[3]
              assert.equal("/", event[4])
            end
          end
          assert.same(expected[what], { table.unpack(names, #names - #members + 1) })
        end
      end
    end)

    it("leaves out the sender alone, on any worker", function()
      for _, speaker in ipairs(members) do
        assert.equal(tostring(#members - 1),
          run(speaker.peer, "return tw.room('lobby'):broadcast('hi', conn)"))
        for _, member in ipairs(members) do
          check_got_only(member.peer, member ~= speaker and "hi" or nil)
        end
      end
    end)
  end)

  describe("tw.broadcast", function()
    it("reaches all connections, or one endpoint's, without the excepted one", function()
      local ada = connect(0, "ada")
      local all = {}
      for worker = 0, WORKERS - 1 do
        all[worker] = {
          plain = connect(worker, "plain"), text = connect(worker, "text", "/text"),
          json = connect(worker, "json", "/json"),
        }
      end
      local count = 3 * WORKERS
      assert.equal(("%d %d %d"):format(count, WORKERS, WORKERS), run(ada, [[
        return tw.broadcast("all", conn), tw.broadcast("text", { endpoint = "/text" }),
          tw.broadcast({ "json" }, { endpoint = "/json", except = conn })]]))
      assert.equal(tostring(count + 1), run_on(1, "return tw.broadcast('end')"))
      check_got_only(ada, "end")
      for worker = 0, WORKERS - 1 do
        assert.same({ "all", "end" }, all[worker].plain:receive_many(2))
        assert.same({ "all", "text", "end" }, all[worker].text:receive_many(3))
        assert.same({ '"all"', '["json"]', '"end"' }, all[worker].json:receive_many(3))
      end
    end)
  end)

  describe("the order", function()
    it("is of causes and effects, whichever workers are between", function()
      local ada, bob = connect(0, "ada"), connect(1, "bob")
      local eve = connect(WORKERS - 1, "eve", "/text")
      run(ada, "conn:join('lobby', { name = 'ada' })")
      for number = 1, 300 do
        -- bob has its answer: ada, which asks afterwards, gets bob's message before its own answer
        run(bob, ("tw.room('lobby'):broadcast('b%d')"):format(number))
        run(bob, ("tw.send(ids:get 'ada', 's%d')"):format(number))
        ada:send_text(("tw.send(ids:get 'eve', 'a%d') return 'answer'"):format(number))
        assert.same({ "b" .. number, "s" .. number, "= answer" }, ada:receive_many(3))
        -- ada has hers: what bob causes comes after what she has
        run(bob, ("tw.send(ids:get 'eve', 'b%d')"):format(number))
        assert.same({ "a" .. number, "b" .. number }, eve:receive_many(2))
      end
      run(ada, "conn:leave('lobby')")
    end)

    it("keeps causes before effects, also for a hook that waits for a shared value", function()
      local ada, bob, eve = connect(0, "ada"), connect(1, "bob"), connect(1, "eve")
      run(eve, "conn:join('attic')")
      local turn = 0

      --- While bob's hook is busy, ada does something and sets a flag; then bob's hook goes on.
      local function meanwhile(ada_does, bob_does)
        turn = turn + 1
        bob:send_text(("while counts:get('turn') ~= %d do end %s"):format(turn, bob_does))
        run(ada, ("%s counts:set('turn', %d)"):format(ada_does, turn))
      end

      for _ = 1, 100 do
        -- a client that joins after a broadcast does not get it, one that leaves after it does
        meanwhile("tw.room('attic'):broadcast('1')", "return conn:join('attic')")
        assert.equal("= true", (bob:receive()))
        meanwhile("tw.room('attic'):broadcast('2')", "return conn:leave('attic')")
        assert.same({ "2", "= true" }, bob:receive_many(2))
        assert.same({ "1", "2" }, eve:receive_many(2))
        check_got_only(eve)
        -- what is said after it comes after it
        meanwhile("tw.room('attic'):broadcast('3')", "return tw.room('attic'):broadcast('4')")
        assert.equal("= 1", (bob:receive()))
        meanwhile("tw.send(ids:get 'bob', '5')", "return '6'")
        assert.same({ "5", "= 6" }, bob:receive_many(2))
        meanwhile("tw.broadcast('7', conn)", "conn:close(4000)")
        assert.equal("7", (bob:receive()))
        assert.equal(4000, (bob:wait_closed()))
        assert.same({ "3", "4", "7" }, eve:receive_many(3))
        check_got_only(eve)
        bob = connect(1, "bob")
      end
    end)

    it("is the same for members of rooms and for shared values", function()
      local ada, bob = connect(0, "ada"), connect(1, "bob")
      for number = 1, 300 do
        run(bob, ("conn:join('attic') counts:set('latest', %d)"):format(number))
        assert.equal(("1 %d 1"):format(number),
          run(ada, "return tw.room('attic'):size(), counts:get('latest'), "
            .. "tw.room('attic'):broadcast('hi')"))
        run_on(1, ("tw.send(ids:get 'bob', 'then %d')"):format(number))
        assert.same({ "hi", "then " .. number }, bob:receive_many(2))
        run(bob, "conn:leave('attic')")
        assert.equal("0", run(ada, "return tw.room('attic'):broadcast('hi')"))
      end
      check_got_only(bob)
    end)
  end)

  describe("tw.shared", function()
    it("loses nothing of what all workers do at once", function()
      assert.equal(20000 * WORKERS .. " 100",
        run_on(0, "return counts:get('loads'), counts:get('added')"))
      local peers = {}
      for index = 1, 2 * WORKERS do peers[index] = connect(index % WORKERS, "p" .. index) end
      for _, peer in ipairs(peers) do
        peer:send_text("for _ = 1, 20000 do counts:incr('sum') end return counts:add('last', 1)")
      end
      local answers = {}
      for index, peer in ipairs(peers) do answers[index] = peer:receive() end
      table.sort(answers)
      assert.equal("= true", answers[#answers])
      assert.equal("= false", answers[#answers - 1])
      assert.equal(tostring(20000 * #peers), run_on(1, "return counts:get('sum')"))
    end)
  end)

  describe("tw.stats", function()
    it("counts all workers together, on each; /stats and /metrics tell the same", function()
      local before = cjson.decode(app:http_on(0, "/stats").body)
      local peers = {}
      for worker = 0, WORKERS - 1 do
        peers[worker] = connect(worker, "peer")
        for _ = 1, 10 do run(peers[worker], "return 'hello'") end
        connect(worker, "faulty", "/faulty"):send_text("x")
      end
      local expected = {
        connections = 2 * WORKERS, total_connections = 2 * WORKERS,
        connections_opened = 2 * WORKERS, messages_received = 11 * WORKERS,
        messages_sent = 12 * WORKERS, script_errors = WORKERS,
      }
      local function grown(stats)
        local grown_by = {}
        for name in pairs(expected) do grown_by[name] = stats[name] - before[name] end
        return grown_by
      end
      -- (no client waited for the faulty ones)
      ask_until(function()
        return grown(cjson.decode(http.request(app.admin, "/stats").body)).script_errors == WORKERS
      end)
      for worker = 0, WORKERS - 1 do
        assert.same(expected, grown(cjson.decode(app:http_on(worker, "/stats").body)))
      end
      local stats = cjson.decode(http.request(app.admin, "/stats").body)
      assert.same(expected, grown(stats))
      assert.equal(WORKERS, stats.workers)
      assert.equal(WORKERS, #stats.connections_by_worker)
      for _, count in ipairs(stats.connections_by_worker) do assert.equal(2, count) end
      local metrics = http.request(app.admin, "/metrics").body
      assert.equal(2 * WORKERS, tonumber(metrics:match("\ntidewire_connections (%d+)\n")))
      for _, name in ipairs({
        "connections_opened", "messages_received", "messages_sent", "script_errors",
      }) do
        local value = metrics:match("\ntidewire_" .. name .. "_total (%d+)")
        assert.equal(stats[name], tonumber(value), name)
      end
    end)
  end)
end)

describe("a limit of", function()
  after_each(stream.close_all)

  local ROOM_FOR <const> = 20

  local function start(limits)
    return server.start({
      workers = WORKERS,
      app = ([[
        local here = require "here"
        return { LIMITS endpoints = { ["/"] = { MAX validate = here.validate } } }
      ]]):gsub("%u%u%u+", limits),
    })
  end

  --- Sends so many handshakes at once. Returns the streams that were accepted, and how
  --- often each status was the answer.
  local function ask_at_once(count)
    local sources, inside, statuses = {}, {}, {}
    for index = 1, count do sources[index] = assert(stream.connect(app.addresses[1])) end
    for _, source in ipairs(sources) do source:write((client.handshake("/"))) end
    for _, source in ipairs(sources) do
      local response = assert(http.read_response(source))
      statuses[response.status] = (statuses[response.status] or 0) + 1
      if response.status == 101 then inside[#inside + 1] = source else source:close() end
    end
    return inside, statuses
  end

  local cases = {
    { "limits.connections", { LIMITS = "limits = { connections = 20 },", MAX = "" }, 503 },
    { "an endpoint's max_connections", { LIMITS = "", MAX = "max_connections = 20," }, 503 },
    { "limits.per_address", { LIMITS = "limits = { per_address = 20 },", MAX = "" }, 429 },
  }
  for _, case in ipairs(cases) do
    it(case[1] .. " is one for all workers, and places come back to all", function()
      local own <close> = start(case[2])
      app = own
      for round = 1, 5 do
        -- places on each worker, for sure; the others as it happens
        local first, left = {}, ROOM_FOR
        if round == 1 then
          for index = 1, 2 * WORKERS do first[index] = app:connect_on(index % WORKERS, "/") end
          left = left - #first
        end
        local deadline = loop.now() + loop.patience
        local inside = {}
        repeat -- from the second round on: until all are free again
          for _, each in ipairs(inside) do each:close() end
          local statuses
          inside, statuses = ask_at_once(3 * ROOM_FOR)
          assert.equal(3 * ROOM_FOR - #inside, statuses[case[3]])
          assert.is_true(#inside <= left, #inside .. " are in")
        until round == 1 or #inside == left or loop.now() > deadline
        assert.equal(left, #inside)
        assert.equal(0, #(ask_at_once(2 * WORKERS)))
        for _, peer in ipairs(first) do peer:close(1000) end
        for index, source in ipairs(inside) do
          if index % 2 == 0 then source:close() else source:abort() end
        end
      end
    end)
  end
end)
