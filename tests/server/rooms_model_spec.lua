-- rooms_model_spec.lua -- thousands of random joins, leaves, broadcasts, sends, connects and
-- disconnects by sixty real clients, against a model: every message that must arrive arrives
-- exactly once, in the sender's order, and no other.
--
-- The model is exact because it knows the members at each send. In a *walk* one client acts at a
-- time and has its answer before the next acts. In a *storm* many send at once, and some
-- disconnect; none joins. After each, every client asks for one more answer, which comes after all
-- messages that were sent to it before. The seed is printed; TIDEWIRE_TEST_SEED=n runs it again.
--
-- With several workers clients are on all of them, by chance, and the model is the same. A command
-- that needs the conn of another client takes one of the same worker; any connection can be closed
-- through a room that every worker watches. rooms_storm_spec.lua tests joins, leaves and sends at
-- the same time.

local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [=[
local here = require "here"
local tw = require "tidewire"

local conns = {} -- by tag: each that ever was on this worker
-- by tag, of all; "left" for those whose on_close has run
local ids, gone = tw.shared("ids"), tw.shared("gone")

-- A member of this room names the connection to close.
local doom = tw.room("doom")
doom:watch(function(event, member)
  local conn = event == "join" and conns[member.info]
  if conn then conn:close(4000) end
end)

local function message(conn, serial, padding)
  return ("%s %s %s"):format(serial, conn.tag, ("x"):rep(tonumber(padding)))
end

-- Commands of clients, with their arguments. The results are the answer.
local commands = {}
function commands.ping() return "pong" end
function commands.join(conn, room) conn.mine[room] = true return conn:join(room) end
function commands.leave(conn, room) conn.mine[room] = nil return conn:leave(room) end
function commands.rooms(conn) return table.concat(conn:rooms(), ",") end
function commands.size(_, room) return tw.room(room):size(), #tw.room(room):members() end
function commands.say(conn, room, ...) return tw.room(room):broadcast(message(conn, ...)) end
function commands.others(conn, room, ...)
  return tw.room(room):broadcast(message(conn, ...), conn)
end
function commands.but(conn, room, tag, ...)
  return tw.room(room):broadcast(message(conn, ...), { except = conns[tag] })
end
function commands.all(conn, ...) return tw.broadcast(message(conn, ...)) end
function commands.endpoint(conn, path, ...)
  return tw.broadcast(message(conn, ...), { endpoint = path, except = conn })
end
function commands.send(conn, tag, ...) return tw.send(ids:get(tag), message(conn, ...)) end
function commands.direct(conn, tag, ...) return conns[tag]:send(message(conn, ...)) end
function commands.close(conn, tag, ...)
  conns[tag]:send(message(conn, ...))
  conns[tag]:close(4000)
end
function commands.close_from_afar(conn, tag, ...)
  tw.send(ids:get(tag), message(conn, ...))
  conn:join("doom", tag)
  conn:leave("doom")
end
function commands.gone(_, tag) return gone:get(tag) end

local function run(conn, line)
  local words = {}
  for word in line:gmatch("%S+") do words[#words + 1] = word end
  local results = table.pack(commands[words[1]](conn, table.unpack(words, 2)))
  for i = 1, results.n do results[i] = tostring(results[i]) end
  return "= " .. table.concat(results, " ", 1, results.n)
end

return {
  defaults = {
    ping_period = 0,
    max_backlog = "64M",
    validate = here.validate,
    on_start = function(conn)
      conn.tag, conn.mine = conn.query.tag, {}
      conns[conn.tag] = conn
      ids:set(conn.tag, conn.id)
    end,
    handle_message = function(conn, line) conn:send(run(conn, line)) end,
    -- Its last message to each room that it was in.
    on_close = function(conn)
      local rooms = {}
      for room in pairs(conn.mine) do rooms[#rooms + 1] = room end
      table.sort(rooms)
      local how = "left"
      for _, room in ipairs(rooms) do
        tw.room(room):broadcast(message(conn, "bye:" .. room, 0))
        for _, member in ipairs(tw.room(room):members()) do
          if member.id == conn.id then how = "is still in " .. room end
        end
      end
      gone:set(conn.tag, how)
    end,
  },
  endpoints = {
    ["/text"] = {}, ["/chat"] = {}, ["/json"] = { codec = "json" },
    ["/binary"] = { codec = "binary" },
  },
  http = {
    ["/left"] = function()
      local left = tw.stats().connections
      for index = 1, 8 do left = left + tw.room("r" .. index):size() end
      return tostring(left)
    end,
  },
}
]=]

local SEED = tonumber(os.getenv("TIDEWIRE_TEST_SEED")) or os.time() % 1000000
local WORKERS = tonumber(os.getenv("TIDEWIRE_TEST_WORKERS") or 1) > 1 and 4 or 1
local CLIENTS, OPERATIONS = 60, 8000
local ROOMS = { "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8" }
local PATHS = { "/text", "/chat", "/json", "/json", "/binary" }

-- ---- chance ----

local random_state = SEED

--- 1 to limit. Of our own: clients use math.random for their frames.
local function random(limit)
  random_state = (random_state * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
  return (random_state >> 24) % limit + 1
end

local function any(list) return list[random(#list)] end

-- ---- clients, and what the model knows of them ----

local app
local clients      -- those that are connected
local tags         -- of all that ever were: a list for each worker, which begins at 0
local connected    -- how many there ever were
local last_serial

--- What kind of frame a value comes in, and the value in it.
local function decode(path, payload, kind)
  assert.equal(path == "/binary" and "binary" or "text", kind)
  return path == "/json" and assert(payload:match('^"(.*)"$'), "no JSON string") or payload
end

local function send_line(actor, line)
  if actor.path == "/json" then
    actor.peer:send_text('"' .. line .. '"')
  elseif actor.path == "/binary" then
    actor.peer:send_binary(line)
  else
    actor.peer:send_text(line)
  end
end

--- Waits for the next message and notes it. Nil and why when there is none.
local function take_one(receiver)
  local payload, kind = receiver.peer:receive()
  if not payload then return nil, kind end
  local text = decode(receiver.path, payload, kind)
  local answer = text:match("^= (.*)$")
  if answer then
    table.insert(receiver.answers, answer)
  else
    local serial, sender = text:match("^(%S+) (%S+) x*$")
    receiver.got[sender] = receiver.got[sender] or {}
    table.insert(receiver.got[sender], serial)
  end
  return true
end

local function next_answer(actor)
  while not actor.answers[1] do
    local ok, why = take_one(actor)
    if not ok then error(("%s got no answer: %s"):format(actor.tag, why)) end
  end
  return table.remove(actor.answers, 1)
end

local function ask(actor, line)
  send_line(actor, line)
  return next_answer(actor)
end

local function connect(worker)
  connected = connected + 1
  worker = worker or random(WORKERS) - 1
  local tag, path = "c" .. connected, any(PATHS)
  table.insert(tags[worker], tag)
  local joiner = {
    tag = tag, path = path, worker = worker, peer = app:connect_on(worker, path .. "?tag=" .. tag),
    rooms = {},    -- the set of rooms that it is in
    expected = {}, -- by sender: the serials it must get
    got = {},      -- by sender: the serials it got
    answers = {},  -- that came and were not looked at
  }
  clients[#clients + 1] = joiner
  assert.equal("pong", ask(joiner, "ping")) -- its on_start has run: others may name it
  return joiner
end

--- What it got must be what the model says; of one that went away without ceremony, the beginning
--- of it.
local function check(receiver, may_miss_the_end)
  for sender, expected in pairs(receiver.expected) do
    local got = receiver.got[sender] or {}
    local all = may_miss_the_end and math.min(#got, #expected) or #expected
    if table.concat(got, " ") ~= table.concat(expected, " ", 1, all) then
      error(("%s must get from %s: %s\nand got: %s"):format(receiver.tag, sender,
        table.concat(expected, " "), table.concat(got, " ")))
    end
  end
  for sender, got in pairs(receiver.got) do
    if not receiver.expected[sender] then
      error(("%s must get nothing from %s, and got: %s")
        :format(receiver.tag, sender, table.concat(got, " ")))
    end
  end
  receiver.expected, receiver.got = {}, {}
end

-- ---- speaking ----

local function expect(receiver, sender, serial)
  receiver.expected[sender.tag] = receiver.expected[sender.tag] or {}
  table.insert(receiver.expected[sender.tag], tostring(serial))
end

--- A message to the clients for which is_meant(client) is true: the model expects it. Returns their
--- number.
local function say(sender, is_meant)
  local count = 0
  for _, client in ipairs(clients) do
    if is_meant(client) then
      expect(client, sender, last_serial)
      count = count + 1
    end
  end
  return count
end

--- A new serial number and some padding: "17 40".
local function new_message()
  last_serial = last_serial + 1
  local chance = random(200)
  local padding = chance == 1 and 70000 or chance < 10 and 1000 or random(60)
  return ("%d %d"):format(last_serial, padding)
end

--- Ways to send: each returns the command, and the expected answer.
local speaking = {}

function speaking.say(actor)
  local room = any(ROOMS)
  return ("say %s %s"):format(room, new_message()),
    say(actor, function(client) return client.rooms[room] end)
end

function speaking.others(actor)
  local room = any(ROOMS)
  return ("others %s %s"):format(room, new_message()),
    say(actor, function(client) return client.rooms[room] and client ~= actor end)
end

function speaking.but(actor)
  local room, tag = any(ROOMS), any(tags[actor.worker])
  return ("but %s %s %s"):format(room, tag, new_message()),
    say(actor, function(client) return client.rooms[room] and client.tag ~= tag end)
end

function speaking.all(actor)
  return ("all %s"):format(new_message()), say(actor, function() return true end)
end

function speaking.endpoint(actor)
  local path = any(PATHS)
  return ("endpoint %s %s"):format(path, new_message()),
    say(actor, function(client) return client.path == path and client ~= actor end)
end

function speaking.send(actor, only)
  local other = only and any(only)
  local worker = other and other.worker or random(WORKERS) - 1
  local tag = other and other.tag or any(tags[worker])
  local way = any({ "send", "direct" })
  local command = ("%s %s %s"):format(worker == actor.worker and way or "send", tag, new_message())
  return command,
    say(actor, function(client) return client.tag == tag end) == 1 and "true" or "nil closed"
end

local WAYS = { "say", "say", "say", "others", "others", "but", "all", "endpoint", "send", "send" }

-- ---- coming and going ----

--- Ways to disconnect. Clients that close properly get all that was sent before; `true`: the end
--- may be missing.
local endings = {}
function endings.close(leaver) leaver.peer:send_close(1000) end
function endings.fault(leaver) leaver.peer:send_frame({ opcode = 3, payload = "" }) end
function endings.kick(leaver, boss)
  local message = new_message()
  expect(leaver, boss, last_serial)
  local way = boss.worker == leaver.worker and "close" or "close_from_afar"
  assert.equal("", ask(boss, ("%s %s %s"):format(way, leaver.tag, message)))
end
function endings.reset(leaver) leaver.peer:abort() return true end
function endings.drop(leaver) leaver.peer:drop() return true end

local ENDINGS = { endings.close, endings.fault, endings.kick, endings.reset, endings.drop }

--- Takes clients out of the model. Their rooms get their last messages; of these
--- themselves, perhaps.
local function forget(leavers)
  for _, leaver in ipairs(leavers) do
    for _, room in ipairs(ROOMS) do -- in order, as its on_close has them
      if leaver.rooms[room] then
        for _, client in ipairs(clients) do
          if client.rooms[room] and client ~= leaver then expect(client, leaver, "bye:" .. room) end
        end
      end
    end
  end
  for _, leaver in ipairs(leavers) do
    for index, client in ipairs(clients) do
      if client == leaver then
        table.remove(clients, index)
        break
      end
    end
  end
end

--- Reads what is left, up to the Close frame where there must be one; compares.
local function read_to_the_end(leaver, is_abrupt, in_a_storm)
  if not is_abrupt then
    local how
    repeat
      local ok, why = take_one(leaver)
      how = why
    until not ok
    assert.equal("close", how)
  end
  leaver.peer.stream:close()
  check(leaver, is_abrupt or in_a_storm)
end

local function wait_until_gone(leaver, boss)
  local answer = loop.ask_until(function() return ask(boss, "gone " .. leaver.tag) end, "left")
  assert.equal(leaver.tag .. " left", leaver.tag .. " " .. answer)
end

--- One that is not this one, of those connected.
local function another_client(one)
  local other
  repeat other = any(clients) until other ~= one
  return other
end

local function disconnect(leaver)
  local boss = another_client(leaver)
  local is_abrupt = any(ENDINGS)(leaver, boss)
  forget({ leaver })
  wait_until_gone(leaver, boss)
  read_to_the_end(leaver, is_abrupt)
end

-- ---- rounds ----

--- Each client has the messages that were sent to it before, and no others.
local function check_all()
  for _, client in ipairs(clients) do send_line(client, "ping") end
  for _, client in ipairs(clients) do
    assert.equal("pong", next_answer(client))
    check(client)
  end
end

local function sorted_keys(set)
  local list = {}
  for key in pairs(set) do list[#list + 1] = key end
  table.sort(list)
  return list
end

local walking = {}

function walking.join(actor)
  local room = any(ROOMS)
  actor.rooms[room] = true
  return "join " .. room, "true"
end

function walking.leave(actor)
  local room = any(ROOMS)
  actor.rooms[room] = nil
  return "leave " .. room, "true"
end

function walking.rooms(actor)
  return "rooms", table.concat(sorted_keys(actor.rooms), ",")
end

function walking.size()
  local room, count = any(ROOMS), 0
  for _, client in ipairs(clients) do count = count + (client.rooms[room] and 1 or 0) end
  return "size " .. room, ("%d %d"):format(count, count)
end

--- One after the other, each with its answer.
local function walk(steps)
  for _ = 1, steps do
    local actor, chance = any(clients), random(100)
    if chance <= 4 and #clients > CLIENTS // 2 then
      disconnect(actor)
    elseif chance <= 8 and #clients < CLIENTS then
      connect()
    else
      local act = chance <= 30 and walking.join or chance <= 46 and walking.leave
        or chance <= 50 and walking.rooms
        or chance <= 54 and walking.size or speaking[any(WAYS)]
      local command, answer = act(actor)
      local got = ask(actor, command)
      if got ~= tostring(answer) then
        error(("%s: %s must answer %s, and answered %s")
          :format(actor.tag, command:sub(1, 60), answer, got))
      end
    end
  end
  return steps
end

--- Divides the clients into `count` that leave and the others.
local function part(count)
  local leavers, stayers = {}, table.move(clients, 1, #clients, 1, {})
  for _ = 1, count do table.insert(leavers, table.remove(stayers, random(#stayers))) end
  return leavers, stayers
end

--- Many send at once, and some leave meanwhile. Returns the number of operations.
local function storm()
  local leavers, stayers = part(random(3) - 1)
  local waiting, operations = {}, #leavers
  for _ = 1, 100 do
    local actor = any(stayers)
    local command, answer = speaking[any(WAYS)](actor, stayers)
    send_line(actor, command)
    operations = operations + 1
    table.insert(waiting, { actor = actor, answer = answer })
  end
  for _, leaver in ipairs(leavers) do
    leaver.is_abrupt = any({ endings.close, endings.reset, endings.drop })(leaver)
  end
  for _, each in ipairs(waiting) do
    local answer = next_answer(each.actor)
    if #leavers == 0 then assert.equal(tostring(each.answer), answer) end
  end
  forget(leavers)
  for _, leaver in ipairs(leavers) do
    wait_until_gone(leaver, stayers[1])
    read_to_the_end(leaver, leaver.is_abrupt, true)
  end
  return operations
end

describe("rooms, in a long and random life", function()
  before_each(function()
    app = server.start({ app = APP, workers = WORKERS })
    clients, tags, connected, last_serial = {}, {}, 0, 0
    for worker = 0, WORKERS - 1 do tags[worker] = {} end
  end)

  after_each(function()
    stream.close_all()
    app:stop()
  end)

  it(("deliver each message once and in order (TIDEWIRE_TEST_SEED=%d)"):format(SEED), function()
    print(("\nrooms_model_spec: TIDEWIRE_TEST_SEED=%d"):format(SEED))
    local operations = 0
    for worker = 0, WORKERS - 1 do connect(worker) end
    while operations < OPERATIONS do
      while #clients < CLIENTS - 5 do connect() end
      operations = operations + (random(2) == 1 and walk(100) or storm())
      check_all()
    end
    while #clients > 1 do disconnect(any(clients)) end
    check_all()
    clients[1].peer:close(1000)
    local deadline = loop.now() + loop.patience
    local left
    repeat
      left = app:http("/left").body
    until left == "0" or loop.now() > deadline
    assert.equal("0", left)
  end)
end)
