-- rooms_spec.lua -- rooms and broadcasts against the real program: receivers and order, members at
-- each moment, and refusals. rooms_load_spec.lua has many rooms, many members and slow readers,
-- rooms_model_spec.lua long random runs.
--
-- With several workers each test runs twice: with every client on one worker, and with each client
-- on another worker than the client before.

local chunks = require "support.chunks"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

-- Clients say what is to be done as Lua code; "= " and its results is the answer. In it: conn, tw,
-- record; `conns.ada` is the conn of the client that came with ?name=ada, on its own worker;
-- `ids.ada` its id, on all, until `forget()`.
local APP = [[
local chunks = require "chunks"
local here = require "here"
local record = require "record"
local tw = require "tidewire"

local shared_ids = tw.shared("ids")
ids = setmetatable({}, { __index = function(_, name) return shared_ids:get(name) end })

function forget()
  conns = {}
  for _, name in ipairs(shared_ids:keys()) do shared_ids:delete(name) end
end
forget()

local function run(conn, code)
  local answer = chunks.run(code, { conn = conn, tw = tw, record = record })
  return answer
end

local function enter(conn)
  local name = conn.query.name
  if name then
    conns[name] = conn
    shared_ids:set(name, conn.id)
  end
  for room in (conn.query.rooms or ""):gmatch("%w+") do conn:join(room) end
  if conn.query.hello then conn:send("hello") end
end

-- A value is "word" or { word = "word" }.
local own = {
  decode = function(payload) return payload end,
  encode = function(value)
    value = type(value) == "table" and value.word or tostring(value)
    return "own:" .. value, #value % 2 == 0 and "binary" or "text"
  end,
}

return {
  defaults = { validate = here.validate, on_start = enter, ping_period = 0 },
  endpoints = {
    ["/"] = {
      handle_message = function(conn, code) conn:send(run(conn, code)) end,
      on_close = function(conn, code)
        local rooms = conn.query.rooms or ""
        record("close", conn.query.name, code, #conn:rooms(), conn:join("lobby") == nil,
          tw.room("lobby"):size())
        for room in rooms:gmatch("%w+") do
          tw.room(room)
            :broadcast(("%s left %s, %d stay"):format(conn.query.name, room, tw.room(room):size()))
        end
      end,
      on_error = function(conn, err) conn:send("error: " .. err.message) return false end,
    },
    ["/text"]   = {},
    ["/binary"] = { codec = "binary" },
    ["/json"]   = { codec = "json", on_start = function(conn) enter(conn) end },
    ["/own"]    = { codec = own },
    ["/picky"]  = {
      validate = function(request)
        if not here.validate(request) then return here.validate(request) end
        tw.broadcast("is " .. request.query.name .. " welcome?")
        return true
      end,
    },
  },
  http = {
    ["POST /run"] = here.route(function(request) return run(nil, request.body) end),
    ["POST /shout"] = function(request)
      return tostring(tw.room("lobby"):broadcast(request.body))
    end,
  },
}
]]

local app

local spread   -- is each client on another worker than the one before?
local next_worker, worker_of

lazy_setup(function() app = server.start({ app = APP }) end)
lazy_teardown(function() app:stop() end)

before_each(function() next_worker, worker_of = app.workers - 1, {} end)

--- A client with a name, in these rooms; on_start has run.
local function connect(name, rooms, path)
  path = ("%s?hello=1&name=%s&rooms=%s"):format(path or "/", name, rooms or "")
  local peer = app:connect_on(next_worker, path)
  worker_of[name] = next_worker
  if spread then next_worker = (next_worker + 1) % app.workers end
  assert.matches("hello", (peer:receive()))
  return peer
end

local run, check_got_only = chunks.ask, chunks.check_got_only

--- What code gave on no connection, on this worker, or where the next client would be.
local function run_outside(code, worker)
  local results = chunks.ask_on(app, worker or next_worker, code)
  return results
end

--- Makes the conn of a client do something, on its own worker.
local function make(name, what)
  return run_outside(("return conns.%s:%s"):format(name, what), worker_of[name])
end

--- Runs it until that is what it gives.
local function run_outside_until(code, expected)
  assert.equal(expected, loop.ask_until(function() return run_outside(code) end, expected))
end

after_each(function()
  stream.close_all()
  run_outside_until("return tw.stats().connections", "0")
  for worker = 0, app.workers - 1 do run_outside("forget()", worker) end
end)

--- The next messages must be these.
local function check_got(peer, ...)
  for _, expected in ipairs { ... } do
    assert.equal(expected, (peer:receive()))
  end
end

--- There must be a Close frame next: nothing that was said after the connection began to close.
local function check_closed(peer)
  local message, how = peer:receive()
  assert.same({ nil, "close" }, { message, how })
end

local function suite(place)
  -- What one script does in one turn with the conns of several clients: they are on its worker.
  local it_together = place == "on one worker" and it or function() end

  before_each(function() spread = place == "on different workers" end)

  describe("a room", function()
    it("sends a broadcast to its members, once, and to no other connection", function()
      local ada, bob, eve = connect("ada", "lobby"), connect("bob", "lobby,kitchen"),
        connect("eve", "kitchen")
      assert.equal("2", run_outside("return tw.room('lobby'):broadcast('hello')"))
      check_got_only(ada, "hello")
      check_got_only(bob, "hello")
      check_got_only(eve)
    end)

    it("gives each receiver what each sender has sent, in order", function()
      local senders, names = {}, { "ada", "bob", "eve", "joe", "sue" }
      for index, name in ipairs(names) do senders[index] = connect(name, "lobby") end
      for number = 1, 200 do
        for index, sender in ipairs(senders) do
          local way = number % 3 == 0 and (number % 2 == 0 and not spread
              and "for _, other in pairs(conns) do other:send(%q) end return 0"
              or "for _, name in ipairs { 'ada', 'bob', 'eve', 'joe', 'sue' } do "
                .. "tw.send(ids[name], %q) end return 0")
            or number % 3 == 1 and "return tw.room('lobby'):broadcast(%q)"
            or "return tw.broadcast(%q)"
          sender:send_text(way:format(names[index] .. " " .. number))
        end
      end
      for _, receiver in ipairs(senders) do
        local last, answers = { ada = 0, bob = 0, eve = 0, joe = 0, sue = 0 }, 0
        for _, message in ipairs(receiver:receive_many(200 * 5 + 200)) do
          local name, number = message:match("^(%a+) (%d+)$")
          if name then
            assert.equal(last[name] + 1, tonumber(number))
            last[name] = last[name] + 1
          else
            answers = answers + 1
          end
        end
        assert.same({ ada = 200, bob = 200, eve = 200, joe = 200, sue = 200 }, last)
        assert.equal(200, answers)
      end
    end)

    it("sends to the members at the moment of the broadcast", function()
      local ada, bob = connect("ada", "lobby"), connect("bob")
      local function broadcast(word)
        return run_outside(("return tw.room('lobby'):broadcast(%q)"):format(word))
      end
      assert.equal("1", broadcast("1"))
      assert.equal("true", run(bob, "return conn:join('lobby')"))
      assert.equal("2", broadcast("2"))
      check_got(ada, "1", "2")
      assert.equal("true", run(ada, "return conn:leave('lobby')"))
      assert.equal("1", broadcast("3"))
      check_got(bob, "2", "3")
      assert.equal("true", run(bob, "return conn:leave('lobby')"))
      assert.equal("0", broadcast("4"))
      check_got_only(ada)
      check_got_only(bob)
    end)

    it_together("sends to the members at that moment, within one turn as well", function()
      local ada, bob = connect("ada", "lobby"), connect("bob")
      assert.equal("1 2 1 0", run_outside([[
        local lobby = tw.room("lobby")
        local first = lobby:broadcast("1")
        conns.bob:join("lobby")
        local second = lobby:broadcast("2")
        conns.ada:leave("lobby")
        local third = lobby:broadcast("3")
        conns.bob:leave("lobby")
        return first, second, third, lobby:broadcast("4")
      ]]))
      check_got_only(ada, "1", "2")
      check_got_only(bob, "2", "3")
    end)

    it("leaves out the sender on request", function()
      local ada, bob, eve = connect("ada", "lobby"), connect("bob", "lobby"), connect("eve")
      assert.equal("1", run(ada, "return tw.room('lobby'):broadcast('1', conn)"))
      check_got(bob, "1")
      assert.equal("1", run(bob, "return tw.room('lobby'):broadcast('2', { except = conn })"))
      assert.equal("2", run(eve, "return tw.room('lobby'):broadcast('3', { except = conn })"))
      check_got_only(ada, "2", "3")
      check_got_only(bob, "3")
      check_got_only(eve)
    end)

    it_together("leaves out a given connection, member or not", function()
      local ada, bob, eve = connect("ada", "lobby"), connect("bob", "lobby"), connect("eve")
      assert.equal("1 1 2 2", run_outside([[
        local lobby = tw.room("lobby")
        return lobby:broadcast("1", conns.ada), lobby:broadcast("2", { except = conns.bob }),
          lobby:broadcast("3", { except = conns.eve }), lobby:broadcast("4", {})
      ]]))
      check_got_only(ada, "2", "3", "4")
      check_got_only(bob, "1", "3", "4")
      check_got_only(eve)
    end)

    it("can be spoken to from on_start, timers, routes, and after a sleep", function()
      local ada = connect("ada", "lobby")
      run(ada, "tw.after(0.001, function() tw.room('lobby'):broadcast('timer') end)")
      check_got(ada, "timer")
      assert.equal("1", app:http({ method = "POST", path = "/shout", body = "route" }).body)
      check_got(ada, "route")
      ada:send_text("tw.sleep(0.01) tw.room('lobby'):broadcast('slept') conn:leave('lobby') "
        .. "return 'left'")
      check_got(ada, "slept", "= left")
      check_got_only(ada)
    end)

    it("begins anew after its end", function()
      local ada = connect("ada")
      for _ = 1, 3 do
        assert.equal("true 1", run(ada, "return conn:join('lobby'), tw.room('lobby'):size()"))
        assert.equal("true 0", run(ada, "return conn:leave('lobby'), tw.room('lobby'):size()"))
      end
    end)

    it("counts a connection that joins twice once, and accepts a second leave", function()
      local ada, bob = connect("ada"), connect("bob", "lobby")
      assert.equal("true true 2",
        run(ada, "return conn:join('lobby'), conn:join('lobby'), tw.room('lobby'):size()"))
      assert.equal("2", run_outside("return tw.room('lobby'):broadcast('once')"))
      check_got_only(ada, "once")
      assert.equal("true true 1",
        run(ada, "return conn:leave('lobby'), conn:leave('lobby'), tw.room('lobby'):size()"))
      assert.equal("true", run(ada, "return conn:leave('where it never was')"))
      assert.equal("1", run_outside("return tw.room('lobby'):broadcast('without her')"))
      check_got_only(ada)
      check_got_only(bob, "once", "without her")
    end)

    it("may have any name", function()
      local ada = connect("ada")
      assert.equal("5", run(ada, [[
        local long = (" "):rep(100000)
        local names = { "a\0b", "\xff", long, "a\0c", "Ä" }
        for _, name in ipairs(names) do conn:join(name) end
        for _, name in ipairs(names) do assert(tw.room(name):size() == 1) end
        assert(tw.room("a"):size() == 0)
        assert(table.concat(conn:rooms(), ",")
          == table.concat({ long, "a\0b", "a\0c", "Ä", "\xff" }, ","))
        return #conn:rooms()]]))
    end)

    it("returns its members' ids, and a member returns its rooms", function()
      local ada = connect("ada", "lobby,attic")
      local bob = connect("bob", "lobby")
      assert.equal("2 true attic,lobby", run(ada, [[
        local members = tw.room("lobby"):members()
        local seen = { [members[1].id] = true, [members[2].id] = true }
        local both = seen[ids.ada] and seen[ids.bob]
        return #members, both, table.concat(conn:rooms(), ",")]]))
      assert.equal("lobby", run(bob, "return table.concat(conn:rooms(), ',')"))
    end)
  end)

  describe("a connection that closes", function()
    -- Ways to close ada, which is in the lobby with bob; the code that its on_close gets.
    local endings = {
      { "by her own Close frame", 1000, function(ada) ada:send_close(1000) end },
      { "by a reset", 1006, function(ada) ada:abort() end },
      { "without a Close frame", 1006, function(ada) ada:drop() end },
      { "by conn:close", 4001, function() make("ada", "close(4001)") end },
      { "by breaking the protocol", 1002, function(ada)
        ada:send_frame({ opcode = 3, payload = "" })
      end },
    }

    for _, ending in ipairs(endings) do
      it("has left its rooms before others receive a message of it: " .. ending[1], function()
        local ada, bob = connect("ada", "lobby,attic"), connect("bob", "lobby")
        local seen = #app:events("close")
        ending[3](ada)
        check_got(bob, "ada left lobby, 1 stay")
        check_got_only(bob)
        local event = app:wait_event("close", seen + 1)
        -- its name, the code, how many rooms it is in, whether it is refused to join, who is in the
        -- lobby
        assert.same({ "close", "ada", ending[2], 0, true, 1 }, { table.unpack(event, 1, 6) })
        assert.equal("0", run(bob, "return tw.room('attic'):size()"))
        assert.equal("0", run_outside("return #conns.ada:rooms()", worker_of.ada))
        if not ada.stream.handle:is_closing() then check_closed(ada) end
      end)
    end

    it_together("has left at once, not only when on_close runs", function()
      local ada, bob = connect("ada", "lobby"), connect("bob", "lobby")
      bob:send_text([[
        conns.ada:close(1000)
        local lobby = tw.room("lobby")
        return lobby:size(), #lobby:members(), lobby:broadcast("after"), conns.ada:join("lobby")]])
      check_got(bob, "after", "= 1 1 1 nil closed")
      check_got(bob, "ada left lobby, 1 stay")
      check_closed(ada)
    end)

    it_together("is not counted by another that closes in the same turn", function()
      connect("ada", "lobby")
      connect("bob", "lobby")
      local eve = connect("eve", "lobby")
      run(eve, "conns.ada:close() conns.bob:close()")
      check_got_only(eve, "ada left lobby, 1 stay", "bob left lobby, 1 stay")
    end)

    it("cannot join any more", function()
      local ada, bob = connect("ada"), connect("bob")
      ada:close(1000)
      assert.equal("nil closed", make("ada", "join('lobby')"))
      assert.equal("nil closed", make("ada", "leave('lobby')"))
      assert.equal("0", run_outside("return #conns.ada:rooms()", worker_of.ada))
      assert.equal("0", run(bob, "return tw.room('lobby'):size()"))
    end)
  end)

  describe("tw.broadcast", function()
    local ada, bob, json, binary

    before_each(function()
      ada, bob = connect("ada", "lobby"), connect("bob")
      json, binary = connect("json", "", "/json"), connect("binary", "", "/binary")
    end)

    it("reaches all connections, in rooms or not", function()
      assert.equal("4", run_outside("return tw.broadcast('all')"))
      check_got_only(ada, "all")
      check_got_only(bob, "all")
      assert.same({ '"all"', "text" }, { json:receive() })
      assert.same({ "all", "binary" }, { binary:receive() })
    end)

    it("reaches the connections of one endpoint, without the sender", function()
      assert.equal("2", run_outside([[return tw.broadcast("1", { endpoint = "/" })]]))
      check_got(bob, "1")
      assert.equal("1", run(bob, [[return tw.broadcast("2", { endpoint = "/", except = conn })]]))
      assert.equal("1", run(bob, [[return tw.broadcast({ "3" }, { endpoint = "/json" })]]))
      assert.equal("3", run(bob, [[return tw.broadcast("4", conn)]]))
      assert.equal("0", run(bob, [[return tw.broadcast("5", { endpoint = "/text" })]]))
      check_got_only(ada, "1", "2", "4")
      check_got_only(bob)
      check_got(json, '["3"]', '"4"')
      check_got(binary, "4")
    end)

    it_together("reaches those of one endpoint, but for one", function()
      assert.equal("2 1 1 3 0", run_outside([[return tw.broadcast("1", { endpoint = "/" }),
        tw.broadcast("2", { endpoint = "/", except = conns.ada }),
        tw.broadcast({ "3" }, { endpoint = "/json" }), tw.broadcast("4", conns.bob),
        tw.broadcast("5", { endpoint = "/text" })]]))
      check_got_only(ada, "1", "4")
      check_got_only(bob, "1", "2")
      check_got(json, '["3"]', '"4"')
      check_got(binary, "4")
    end)

    it("does not reach closing connections, nor one whose validate sends", function()
      bob:send_text("conn:close(1000) return tw.broadcast('without bob')")
      check_got(ada, "without bob")
      check_got(json, '"without bob"')
      local eve = connect("eve", "", "/picky")
      check_got(ada, "is eve welcome?")
      assert.equal("4", run_outside("return tw.broadcast('now')"))
      check_got(eve, "now")
    end)
  end)

  describe("tw.send", function()
    it("reaches one connection by its id, through its codec", function()
      local ada, json = connect("ada"), connect("json", "", "/json")
      local binary, own = connect("binary", "", "/binary"), connect("own", "", "/own")
      assert.equal("true true true true", run_outside([[
        return tw.send(ids.ada, "hi"), tw.send(ids.json, { a = 1 }),
        tw.send(ids.binary, "\xff"), tw.send(ids.own, { word = "hello" })]]))
      check_got_only(ada, "hi")
      check_got(json, '{"a":1}')
      assert.same({ "\xff", "binary" }, { binary:receive() })
      assert.same({ "own:hello", "text" }, { own:receive() })
    end)

    it_together("answers nil, \"closed\" as soon as the connection closes", function()
      local bob = connect("bob")
      connect("ada")
      assert.equal("nil closed", run(bob, "conns.ada:close() return tw.send(ids.ada, 'hi')"))
    end)

    it("returns nil, \"closed\" for a closed connection, even if another has its slot", function()
      local ada, bob = connect("ada"), connect("bob")
      make("ada", "close()")
      assert.equal("nil closed", run(bob, "return tw.send(ids.ada, 'hi')"))
      ada:wait_closed()
      run_outside_until("return tw.stats().connections", "1")
      next_worker = worker_of.ada
      local heir = connect("eve")
      assert.equal("nil closed", run(bob, "return tw.send(ids.ada, 'hi')"))
      check_got_only(heir)
    end)

    it("answers the same for what never was an id", function()
      local ada = connect("ada")
      assert.equal("26", run(ada, [[
        local count = 0
        local node, number = conn.id:match("^(" .. ("%w"):rep(11) .. ")(" .. ("%w"):rep(13) .. ")$")
        local function with(bits)
          local integer, text = tonumber(number, 32) ~ bits, ""
          for at = 60, 0, -5 do
            local digit = integer >> at & 31
            text = text .. ("0123456789abcdefghijklmnopqrstuv"):sub(digit + 1, digit + 1)
          end
          return node .. text
        end
        assert(with(0) == conn.id)
        local on_another_worker, on_no_worker = with(1 << 56), with(127 << 56)
        local of_another_node = (node:byte() == 0x30 and "1" or "0") .. node:sub(2) .. number
        for _, id in ipairs {
          "", "x", "0", "1", "-1", "\0", "ada", " " .. conn.id, conn.id .. " ", "0x" .. conn.id,
          "0" .. conn.id, conn.id .. "\0", on_another_worker, on_no_worker, with(1 << 63),
          with(1 << 55), with(1 << 24), with(1), of_another_node, number, node,
          node .. ("0"):rep(13), node .. ("v"):rep(13), ("f"):rep(24), ("f"):rep(25),
          ("9"):rep(100000),
        } do
          local ok, why = tw.send(id, "hi")
          assert(ok == nil and why == "closed", id)
          ok, why = tw.close(id)
          assert(ok == nil and why == "closed", id)
          count = count + 1
        end
        return count]]))
      check_got_only(ada)
    end)
  end)

  describe("a room of connections with several codecs", function()
    local peers

    before_each(function()
      peers = { text = connect("text", "mixed", "/text"),
        binary = connect("binary", "mixed", "/binary"), json = connect("json", "mixed", "/json"),
        own = connect("own", "mixed", "/own"), ada = connect("ada", "mixed") }
    end)

    it("gives each the value in its own form", function()
      assert.equal("5", run_outside("return tw.room('mixed'):broadcast('word')"))
      assert.equal("5", run_outside("return tw.room('mixed'):broadcast(7)"))
      assert.same({ "word", "text" }, { peers.text:receive() })
      assert.same({ "word", "binary" }, { peers.binary:receive() })
      assert.same({ '"word"', "text" }, { peers.json:receive() })
      assert.same({ "own:word", "binary" }, { peers.own:receive() })
      assert.same({ "7", "text" }, { peers.text:receive() })
      assert.same({ "7", "binary" }, { peers.binary:receive() })
      assert.same({ "7", "text" }, { peers.json:receive() })
      assert.same({ "own:7", "text" }, { peers.own:receive() })
      check_got_only(peers.ada, "word", "7")
    end)

    -- The next thing that each gets is this.
    local function check_silent_until_now()
      assert.equal("5", run_outside("return tw.broadcast('now')"))
      for name, expected in pairs({
        text = "now", binary = "now", json = '"now"', own = "own:now", ada = "now",
      }) do
        check_got(peers[name], expected)
      end
    end

    it("sends no value that one of the codecs cannot encode", function()
      assert.matches(
        "^false code:1: room:broadcast: a string is needed for the codec \"%a+\", got table",
        run_outside("return pcall(function() tw.room('mixed'):broadcast({ word = 'x' }) end)"))
      assert.matches(
        "^false code:1: tw.broadcast: a string is needed for the codec \"%a+\", got table",
        run_outside("return pcall(function() tw.broadcast({ word = 'x' }) end)"))
      check_silent_until_now()
      for _, name in ipairs({ "text", "binary", "ada" }) do make(name, "leave('mixed')") end
      assert.equal("2", run_outside("return tw.room('mixed'):broadcast({ word = 'fine' })"))
      check_got(peers.json, '{"word":"fine"}')
      check_got(peers.own, "own:fine")
    end)

    it("sends no text that is not UTF-8", function()
      local refusal =
        "^false code:1: room:broadcast: text must be valid UTF%-8; for other bytes give the "
          .. 'endpoint the codec "binary"'
      for _, name in ipairs({ "text", "ada" }) do -- so that others are the first in it
        make(name, "leave('mixed')")
        make(name, "join('mixed')")
      end
      for _, bytes in ipairs({
        [["\xff"]], [["\xed\xa0\x80"]], [["\xf4\x90\x80\x80"]], [["\xc0\x80"]],
      }) do
        local code = ("return pcall(function() tw.room('mixed'):broadcast(%s) end)"):format(bytes)
        assert.matches(refusal, run_outside(code))
      end
      for _, name in ipairs({ "json", "own", "binary" }) do make(name, "leave('mixed')") end
      assert.matches(refusal,
        run_outside([[return pcall(function() tw.room('mixed'):broadcast("\xff") end)]]))
      check_silent_until_now()
      make("text", "leave('mixed')")
      make("ada", "leave('mixed')")
      make("binary", "join('mixed')")
      assert.equal("1", run_outside([[return tw.room('mixed'):broadcast("\xff")]]))
      check_got(peers.binary, "\xff")
    end)
  end)
end

local function describe_suite(place)
  describe("clients " .. place .. ":", function() suite(place) end)
end

describe_suite("on one worker")
if tonumber(os.getenv("TIDEWIRE_TEST_WORKERS") or 1) > 1 then
  describe_suite("on different workers")
end

describe("misuse", function()
  it("goes to on_error with the line, and the connection goes on", function()
    local ada = connect("ada", "lobby")
    for code, message in pairs({
      ["conn:join()"] = "conn:join: a room's name is needed, got nil",
      ["conn:leave(7)"] = "conn:leave: a room's name is needed, got number",
      ["tw.room('')"] = 'tw.room: a name is needed, got ""',
      ["tw.room('lobby').broadcast('hi')"] =
        "room:broadcast: call it with a colon, room:broadcast(…)",
      ["tw.room('lobby'):broadcast({})"] =
        'room:broadcast: a string is needed for the codec "text", got table',
      ["tw.room('lobby'):broadcast('hi', 7)"] =
        "room:broadcast: options must be a table or a connection, got number",
      ["tw.room('lobby'):broadcast('hi', { but = conn })"] =
        'room:broadcast: unknown option "but"; there are "compress", "except" and "key"',
      ["tw.room('lobby'):broadcast('hi', { excpet = conn })"] =
        'room:broadcast: unknown option "excpet"; did you mean "except"?',
      ["tw.broadcast('hi', { endpoit = '/' })"] =
        'tw.broadcast: unknown option "endpoit"; did you mean "endpoint"?',
      ["local _ = tw.send(conn.id, 'hi', { kye = 'x' })"] =
        'tw.send: unknown option "kye"; did you mean "key"?',
      ["local _ = conn:send('hi', { kye = 'x' })"] =
        'send: unknown option "kye"; did you mean "key"?',
      ["local _ = conn:send('hi', { key = 'x', except = conn })"] =
        'send: unknown option "except"; there are "compress", "key" and "kind"',
      ["local _ = conn:send('hi', { 'text' })"] =
        'send: unknown option "1"; there are "compress", "key" and "kind"',
      ["local _ = conn:send('hi', { key = 7 })"] = "send: key must be a string, got number",
      ["local _ = conn:send('hi', { key = '' })"] = 'send: key must be a string, got ""',
      ["local _ = conn:send('hi', { key = ('x'):rep(1025) })"] =
        "send: the key has 1025 bytes; at most 1024 are possible",
      ["local _ = conn:send('hi', { kind = 'txt' })"] =
        'send: kind must be "text" or "binary", got txt',
      ["local _ = conn:send('hi', conn)"] =
        "send: a kind or a table of options is needed, got a connection",
      ["tw.room('lobby'):broadcast('hi', { except = 7 })"] =
        "room:broadcast: except must be a connection or its conn.id, got number",
      ["tw.broadcast('hi', { endpoint = '/chat' })"] = 'tw.broadcast: there is no endpoint "/chat"',
    }) do
      local answer = ada:ask("\n" .. code)
      assert.equal("error: code:2: " .. message, answer:sub(1, #message + 15))
    end
    assert.matches("^error: .*tw.send: a conn.id is needed, got a connection",
      (ada:ask("tw.send(conn, 'hi')")))
    check_got_only(ada)
  end)

  it("of send's options is reported for a codec of the script's own, too", function()
    local ada = connect("ada")
    local peer = app:connect_on(worker_of.ada, "/own?name=own")
    for options, message in pairs({
      ["{ kye = 'x' }"] = 'send: unknown option "kye"; did you mean "key"?',
      ["{ key = {} }"] = "send: key must be a string, got table",
      ["'txt'"] = 'send: kind must be "text" or "binary", got txt',
    }) do
      local code = ("local _, message = pcall(conns.own.send, conns.own, 'hi', %s) return message")
        :format(options)
      assert.equal(message, run(ada, code))
    end
    assert.equal("true", run(ada, "return conns.own:send('four', { key = 'x', kind = 'text' })"))
    assert.same({ "own:four", "binary" }, { peer:receive() })
  end)
end)
