-- cluster_spec.lua -- several servers on one Redis: what reaches across workers reaches across
-- machines.

local chunks = require "support.chunks"
local cluster = require "support.cluster"
local stream = require "support.stream"

-- Clients send Lua code (chunks.lua), on "/" as text, on "/json" as JSON. ?user=ada is the user,
-- ?rooms=a,b are joined.
local APP = [[
local chunks = require "chunks"
local here = require "here"
local tw = require "tidewire"

local upper = { encode = function(value)
    assert(type(value) == "string", "no string")
    return value:upper()
  end, decode = function(text) return text end }

return {
  defaults = {
    validate = function(request)
      local ok, status = here.validate(request)
      if not ok then return nil, status end
      return { username = request.query.user }
    end,
    user = "username",
    ping_period = 0,
    on_start = function(conn)
      for room in (conn.query.rooms or ""):gmatch("[%w:]+") do conn:join(room) end
      conn:send(conn.id)
    end,
    handle_message = function(conn, code)
      conn:send(chunks.run(code, { conn = conn, tw = tw }))
    end,
  },
  endpoints = { ["/"] = {}, ["/json"] = { codec = "json" }, ["/upper"] = { codec = upper },
    ["/binary"] = { codec = "binary" } },
  http = { ["POST /run"] = here.route(function(request)
    return chunks.run(request.body, { tw = tw })
  end) },
}
]]

local missing = cluster.missing()
if missing then
  return it("a cluster", function() pending(missing) end)
end

for _, workers in ipairs { 1, 3 } do
  describe(("two machines with %d worker%s"):format(workers, workers == 1 and "" or "s"), function()
    local group
    setup(function() group = cluster.start({ app = APP, workers = workers }) end)
    teardown(function() group:stop() end)
    after_each(stream.close_all)

    -- A client of a machine; its id.
    local function connect(machine, path)
      local one = group[machine]
      local peer = one:connect_on(math.random(0, one.workers - 1), path)
      local id = peer:receive()
      if path:find("^/json") then id = id:match('^"(.*)"$') end
      return peer, path:find("^/upper") and id:lower() or id
    end

    local run = chunks.ask

    local ada, bob, ada_id, bob_id, speaker

    -- Two clients in a room of their own, which both machines have, and one on the first machine
    -- that runs code.
    local rooms = 0
    local function connect_both(path)
      rooms = rooms + 1
      local room = "room" .. rooms
      local query = ("%srooms=%s"):format(path:find("?", 1, true) and "&" or "?", room)
      ada, ada_id = connect(1, path .. query)
      bob, bob_id = connect(2, path .. query)
      speaker = connect(1, "/")
      return room
    end

    it("sends broadcasts of rooms to members on both, once and in order", function()
      local room = connect_both("/")
      local eve = connect(2, "/?rooms=other")
      for i = 1, 20 do
        run(eve, ("tw.room(%q):broadcast('%d')"):format(room, i))
      end
      for i = 1, 20 do
        assert.equal(tostring(i), (ada:receive()))
        assert.equal(tostring(i), (bob:receive()))
      end
      chunks.check_got_only(ada)
      chunks.check_got_only(bob)
      chunks.check_got_only(eve)
    end)

    it("leaves out `except`, wherever that connection is", function()
      local room = connect_both("/")
      run(ada, ("tw.room(%q):broadcast('without me', conn)"):format(room))
      run(speaker, ("tw.room(%q):broadcast('without bob', { except = %q })"):format(room, bob_id))
      run(speaker, ("tw.room(%q):broadcast('for all')"):format(room))
      assert.same({ "without me", "for all" }, bob:receive_many(2))
      assert.equal("without bob", (ada:receive()))
      assert.equal("for all", (ada:receive()))
      chunks.check_got_only(ada)
      chunks.check_got_only(bob)
    end)

    it("encodes for codecs that only the other machine has members of", function()
      local room = connect_both("/")
      local json, upper = connect(2, "/json?rooms=" .. room), connect(2, "/upper?rooms=" .. room)
      local binary = connect(2, "/binary?rooms=" .. room)
      run(speaker, ("tw.room(%q):broadcast('hello')"):format(room))
      assert.equal("hello", (bob:receive()))
      assert.equal('"hello"', (json:receive()))
      assert.equal("HELLO", (upper:receive()))
      local bytes, kind = binary:receive()
      assert.equal("hello binary", bytes .. " " .. kind)
    end)

    it("sends a value to those whose codec can encode it", function()
      rooms = rooms + 1
      local room = "room" .. rooms
      ada = connect(1, "/")
      bob = connect(2, "/?rooms=" .. room)
      local json = connect(2, "/json?rooms=" .. room)
      run(ada, ("tw.room(%q):broadcast({ number = 1 })"):format(room))
      run(ada, ("tw.room(%q):broadcast('all')"):format(room))
      assert.equal('{"number":1}', (json:receive()))
      assert.equal('"all"', (json:receive()))
      assert.equal("all", (bob:receive()))
      local says = run(ada, ("return pcall(tw.room(%q).broadcast, tw.room(%q), print)")
        :format(room, room))
      assert.matches("^false .*room:broadcast", says)
    end)

    it("sends tw.broadcast to all connections, or those of one endpoint", function()
      connect_both("/")
      local json = connect(2, "/json")
      run(ada, "tw.broadcast('one', { endpoint = '/json' })")
      run(ada, ("tw.broadcast('two', { except = %q })"):format(ada_id))
      assert.same({ '"one"', '"two"' }, json:receive_many(2))
      assert.equal("two", (bob:receive()))
      chunks.check_got_only(ada)
      chunks.check_got_only(bob)
    end)

    it("sends to one connection of the other machine, and closes it", function()
      connect_both("/")
      local json, json_id = connect(2, "/json")
      assert.equal("true", run(ada, ("return tw.send(%q, 'hello')"):format(bob_id)))
      assert.equal("true", run(ada, ("return tw.send(%q, 'bytes', 'binary')"):format(bob_id)))
      assert.equal("true", run(ada, ("return tw.send(%q, { 1 })"):format(json_id)))
      assert.equal("hello", (bob:receive()))
      local bytes, kind = bob:receive()
      assert.equal("bytes binary", bytes .. " " .. kind)
      assert.equal("[1]", (json:receive()))
      assert.equal("true", run(ada, ("return tw.close(%q, 4001, 'enough')"):format(bob_id)))
      local code, reason = bob:wait_closed()
      assert.equal("4001 enough", code .. " " .. reason)
      assert.matches("^false tw.send: ", run(ada, ("return pcall(tw.send, %q, print)")
        :format(json_id)))
    end)

    it("sends to a user's connections on both", function()
      connect_both("/?user=eve")
      run(speaker, "tw.user('eve'):send('for eve')")
      run(speaker, "tw.user('eve'):send('again', { kind = 'binary' })")
      assert.equal("for eve", (bob:receive()))
      assert.same({ "again", "binary" }, { bob:receive() })
      assert.same({ "for eve", "again" }, ada:receive_many(2))
    end)

    it("delivers to a client what is published after its join", function()
      ada = connect(1, "/")
      for i = 1, 10 do
        bob = connect(2, "/")
        assert.equal("true", run(bob, ("return conn:join('fresh%d')"):format(i)))
        run(ada, ("tw.room('fresh%d'):broadcast('here')"):format(i))
        assert.equal("here", (bob:receive()))
      end
    end)

    it("publishes from routes, timers and closes", function()
      local room = connect_both("/")
      chunks.ask_on(group[1], 0, ("tw.room(%q):broadcast('route')"):format(room))
      assert.equal("route", (bob:receive()))
      run(speaker, ("tw.after(0, function() tw.room(%q):broadcast('timer') end)"):format(room))
      assert.equal("timer", (bob:receive()))
    end)
  end)
end
