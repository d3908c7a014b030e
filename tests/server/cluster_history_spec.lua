-- cluster_history_spec.lua -- rooms with a memory on several machines: one order and one number for
-- all, what joins replay on any machine, and that faults of Redis leave no hole and no double.

local chunks = require "support.chunks"
local cluster = require "support.cluster"
local loop = require "support.loop"
local stream = require "support.stream"

-- Clients send Lua code (chunks.lua). ?join=ROOM joins, and sends the position.
local APP = [[
local chunks = require "chunks"
local here = require "here"
local tw = require "tidewire"

local function words(list)
  local all = {}
  for i, entry in ipairs(list) do all[i] = entry.payload end
  return table.concat(all, ",")
end

local function position(room)
  local epoch, offset = tw.room(room):offset()
  return epoch .. " " .. offset
end

-- The answer comes after what the join replays.
local function join(conn, room, replay)
  local _, at = conn:join(room, nil, replay)
  return at and ("%s %d %s %d"):format(at.epoch, at.offset, at.recovered, at.replayed) or "joined"
end

return {
  rooms = {
    ["chat:*"] = { history = 50 },
    ["short:*"] = { history = 50, history_seconds = 1 },
    ["price:*"] = { retain = true, retain_keys = 3 },
  },
  defaults = {
    validate = here.validate,
    ping_period = 0,
    handle_message = function(conn, code)
      conn:send(chunks.run(code,
        { conn = conn, tw = tw, words = words, position = position, join = join }))
    end,
  },
  endpoints = { ["/"] = {}, ["/json"] = { codec = "json" } },
}
]]

local missing = cluster.missing()
if missing then
  return it("rooms with a memory on several machines", function() pending(missing) end)
end

describe("rooms with a memory on several machines", function()
  local group
  setup(function() group = cluster.start({ app = APP, workers = 2 }) end)
  teardown(function() group:stop() end)
  after_each(stream.close_all)

  local run = chunks.ask

  -- A client of a machine.
  local function connect(machine, path)
    local one = group[machine]
    return one:connect_on(math.random(0, one.workers - 1), path or "/")
  end

  -- The next messages of a client, as one text.
  local function receive(client, count)
    local list = {}
    for i = 1, count do list[i] = client:receive() end
    return table.concat(list, " ")
  end

  local rooms = 0
  local function new_room(kind)
    rooms = rooms + 1
    return (kind or "chat") .. ":" .. rooms
  end

  -- Waits until a worker of a machine says this.
  local function wait_for(client, code, expected)
    local got
    assert.is_true(loop.wait_until(function()
      got = run(client, code)
      return got == expected
    end), got)
  end

  -- Waits until a machine has the room's message with this offset.
  local function wait_for_offset(client, room, offset)
    wait_for(client, ([[return (select(2, tw.room("%s"):offset()))]]):format(room),
      tostring(offset))
  end

  local function say(client, room, first, last)
    return run(client, ([[for i = %d, %d do tw.room("%s"):broadcast("m" .. i) end return "said"]])
      :format(first, last or first, room))
  end

  -- Joins, and checks what the client gets before its position, which is returned.
  local function join(client, room, replay, expected)
    client:send_text(([[return join(conn, "%s", %s)]]):format(room, replay or "nil"))
    local count = 0
    for _ in (expected or ""):gmatch("%S+") do count = count + 1 end
    assert.are.equal(expected or "", receive(client, count))
    return (client:receive():gsub("^= ", ""))
  end

  it("have one order and one number for all", function()
    local room = new_room()
    local ada, bob, speaker = connect(1), connect(2), connect(1)
    join(ada, room)
    join(bob, room)
    say(speaker, room, 1, 20)
    assert.are.equal(receive(ada, 20), receive(bob, 20))
    local at = run(speaker, ([[return position("%s")]]):format(room))
    assert.are.equal(at, run(bob, ([[return position("%s")]]):format(room)))
    assert.are.equal("20", at:match(" (%d+)$"))
    -- of two senders at once
    local other = connect(2)
    for _, each in ipairs { speaker, other } do
      each:send_text(([[for i = 1, 30 do tw.room("%s"):broadcast(conn.id .. i) end return "said"]])
        :format(room))
    end
    assert.are.equal("= said", speaker:receive())
    assert.are.equal("= said", other:receive())
    assert.are.equal(receive(ada, 60), receive(bob, 60))
  end)

  it("replay on a machine on which nobody was before", function()
    local room = new_room()
    local speaker = connect(1)
    say(speaker, room, 1, 5)
    wait_for_offset(speaker, room, 5)
    local bob = connect(2)
    join(bob, room, "{ history = 3 }", "m3 m4 m5")
    say(speaker, room, 6)
    assert.are.equal("m6", bob:receive())
    assert.are.equal("m1,m2,m3,m4,m5,m6",
      run(bob, ([[return words(tw.room("%s"):history())]]):format(room)))
  end)

  it("bring back a client on another machine by its offset", function()
    local room = new_room()
    local speaker, ada = connect(1), connect(1)
    local epoch = join(ada, room, "{ history = 0 }"):match("^%S+")
    say(speaker, room, 1, 4)
    receive(ada, 4)
    local bob = connect(2)
    local at = join(bob, room, ('{ after = 2, epoch = "%s" }'):format(epoch), "m3 m4")
    assert.are.equal(epoch .. " 4 true 2", at)
    local eve = connect(2)
    at = join(eve, room, '{ after = 2, epoch = "another" }', "m1 m2 m3 m4")
    assert.are.equal(epoch .. " 4 false 4", at)
  end)

  it("leave out one connection, and reach each codec", function()
    local room = new_room()
    local ada, bob, speaker = connect(1), connect(2, "/json"), connect(1)
    bob:send_text(('"return join(conn, \\"%s\\")"'):format(room))
    assert.are.equal('"= joined"', bob:receive())
    join(ada, room)
    join(speaker, room)
    run(speaker, ([[tw.room("%s"):broadcast("one", conn) return "said"]]):format(room))
    assert.are.equal("one", ada:receive())
    assert.are.equal('"one"', bob:receive())
    say(speaker, room, 2) -- the answer came before, and "one" did not
    assert.are.equal("m2", speaker:receive())
  end)

  it("retain the last message of each key", function()
    local room = new_room("price")
    local speaker, ada = connect(1), connect(2)
    join(ada, room)
    run(speaker, ([[
      local room = tw.room("%s")
      for i, key in ipairs { "a", "b", "a", "c", "d" } do
        room:broadcast(key .. i, { key = key })
      end
      return "said"]]):format(room))
    assert.are.equal("a1 b2 a3 c4 d5", receive(ada, 5))
    group:add()
    local bob = connect(3)
    join(bob, room, "{ retained = true }", "a3 c4 d5")
    run(speaker, ([[tw.room("%s"):clear_history({ key = "c" }) return "done"]]):format(room))
    local code = ([[return words(tw.room("%s"):history({ retained = true }))]]):format(room)
    for _, client in ipairs { ada, bob } do wait_for(client, code, "a3,d5") end
    -- a machine that reads now does not get it back
    group:add()
    join(connect(4), room, "{ retained = true }", "a3 d5")
    group[4]:stop()
    group[4] = nil
    group[3]:stop()
    group[3] = nil
  end)

  it("are cleared on all machines, in a new epoch", function()
    local room = new_room()
    local speaker, ada = connect(1), connect(2)
    local epoch = join(ada, room, "{ history = 0 }"):match("^%S+")
    say(speaker, room, 1, 3)
    receive(ada, 3)
    assert.are.equal("", run(speaker, ([[
      tw.room("%s"):clear_history()
      return words(tw.room("%s"):history())]]):format(room, room)))
    local code = ([[return words(tw.room("%s"):history())]]):format(room)
    wait_for(ada, code, "")
    say(speaker, room, 4)
    assert.are.equal("m4", ada:receive())
    wait_for_offset(speaker, room, 1)
    local at = join(connect(1), room, ('{ after = 1, epoch = "%s" }'):format(epoch), "m4")
    assert.is_truthy(at:match(" 1 false 1$"))
    assert.are_not.equal(epoch, at:match("^%S+"))
  end)

  it("forget what is too old, on each machine", function()
    local room = new_room("short")
    local ada, bob = connect(1), connect(2)
    join(bob, room)
    say(ada, room, 1, 2)
    assert.are.equal("m1 m2", receive(bob, 2))
    local code = ([[return words(tw.room("%s"):history())]]):format(room)
    wait_for(ada, code, "")
    wait_for(bob, code, "")
    -- and the offsets go on
    say(ada, room, 3)
    assert.are.equal("m3", bob:receive())
    assert.are.equal("3", run(bob, ([[return position("%s")]]):format(room)):match("%d+$"))
  end)

  describe("when Redis", function()
    local room, ada, bob, speaker

    local function begin()
      room = new_room()
      ada, bob, speaker = connect(1), connect(2), connect(1)
      join(ada, room)
      join(bob, room)
      say(speaker, room, 1, 3)
      assert.are.equal("m1 m2 m3", receive(ada, 3))
      assert.are.equal("m1 m2 m3", receive(bob, 3))
    end

    -- Waits until the machines have lost the server, or have it again.
    local function wait_for_state(state, count)
      for i = 1, #group do
        assert.is_true(cluster.wait_for_log(group[i], "event=cluster_" .. state, count))
      end
    end

    local function count_of(state)
      return #group[1]:log_lines("event=cluster_" .. state)
    end

    it("was killed, nothing is lost, doubled or out of order", function()
      begin()
      local downs, ups = count_of("down"), count_of("up")
      group.redis:kill()
      wait_for_state("down", downs + 1)
      say(speaker, room, 4, 6)
      assert.are.equal("m4 m5 m6", receive(ada, 3))
      local other = connect(2)
      say(other, room, 7, 8)
      assert.are.equal("m7 m8", receive(bob, 2))
      -- a client that comes back meanwhile
      local eve = connect(1)
      join(eve, room, "{ history = 4 }", "m3 m4 m5 m6")
      group.redis:start()
      wait_for_state("up", ups + 1)
      assert.are.equal("m7 m8", receive(ada, 2))
      assert.are.equal("m7 m8", receive(eve, 2))
      assert.are.equal("m4 m5 m6", receive(bob, 3))
      say(speaker, room, 9)
      for _, client in ipairs { ada, bob, eve } do assert.are.equal("m9", client:receive()) end
      local code = ([[return words(tw.room("%s"):history()) .. position("%s")]]):format(room, room)
      local all = run(speaker, code)
      assert.are.equal(all, run(other, code))
      assert.is_truthy(all:find("m1,m2,m3", 1, true))
      local _, count = all:gsub("m%d", "")
      assert.are.equal(9, count)
    end)

    it("has lost everything, clients hear that they cannot go on", function()
      begin()
      local epoch = run(speaker, ([[return position("%s")]]):format(room)):match("^%S+")
      group.redis:command("FLUSHALL")
      say(speaker, room, 4, 5)
      assert.are.equal("m4 m5", receive(ada, 2))
      assert.are.equal("m4 m5", receive(bob, 2))
      local at = join(connect(2), room, ('{ after = 3, epoch = "%s" }'):format(epoch), "m4 m5")
      assert.is_truthy(at:match(" 2 false 2$"))
      local code = ([[return position("%s")]]):format(room)
      assert.are.equal(run(speaker, code), run(bob, code))
    end)

    it("has lost its last messages, clients that have them hear it", function()
      begin()
      local file = group.redis.folder .. "/appendonlydir"
      local function copy(from, to)
        assert(os.execute(("rm -rf '%s' && cp -r '%s' '%s'"):format(to, from, to)))
      end
      local downs, ups = count_of("down"), count_of("up")
      local code = ([[return position("%s")]]):format(room)
      local epoch = run(speaker, code):match("^%S+")
      copy(file, file .. ".before")
      say(speaker, room, 4, 5)
      assert.are.equal("m4 m5", receive(ada, 2))
      assert.are.equal("m4 m5", receive(bob, 2))
      group.redis:kill()
      wait_for_state("down", downs + 1)
      copy(file .. ".before", file)
      group.redis:start()
      wait_for_state("up", ups + 1)
      say(speaker, room, 6)
      assert.are.equal("m6", ada:receive())
      assert.are.equal("m6", bob:receive())
      for _, after in ipairs { 3, 5 } do
        local at = join(connect(2), room, ('{ after = %d, epoch = "%s" }'):format(after, epoch),
          "m1 m2 m3 m6")
        assert.is_truthy(at:match(" 4 false 4$"))
      end
      assert.are.equal(run(speaker, code), run(bob, code))
    end)

    it("does not answer for a moment, messages wait", function()
      begin()
      group.redis:pause()
      say(speaker, room, 4, 6)
      group.redis:continue()
      assert.are.equal("m4 m5 m6", receive(ada, 3))
      assert.are.equal("m4 m5 m6", receive(bob, 3))
    end)

    it("takes no more data, machines go on alone, and heal", function()
      begin()
      group.redis:command("CONFIG", "SET", "maxmemory", "1")
      say(speaker, room, 4, 5)
      assert.are.equal("m4 m5", receive(ada, 2))
      group.redis:command("CONFIG", "SET", "maxmemory", "0")
      assert.are.equal("m4 m5", receive(bob, 2))
      say(speaker, room, 6)
      assert.are.equal("m6", ada:receive())
      assert.are.equal("m6", bob:receive())
    end)
  end)
end)
