-- rooms_storm_spec.lua -- all clients join, leave and send at once, on all workers, and none waits
-- for another.
--
-- The members at the moment of a broadcast are then unknown, but much is certain. Between its
-- request to join and the answer to its request to leave a member gets each sender's messages
-- without gaps, once and in order. A message that was sent after the answer to its join and before
-- its request to leave is among them; a message that was answered before its request to join, or
-- sent after it had left, is not. All members see the messages of a room in one order (members with
-- the same codec: a broadcast is sent once for each codec). Watched rooms send each worker every
-- join and leave, and all workers the same. The seed is printed; TIDEWIRE_TEST_SEED=n makes the
-- same choices again (the results may differ).

local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [=[
local here = require "here"
local tw = require "tidewire"

local seen = {} -- by room: its joins and leaves
for _, name in ipairs { "r1", "r2" } do
  seen[name] = {}
  tw.room(name):watch(function(event, member)
    table.insert(seen[name], (event == "join" and "+" or "-") .. member.info)
  end)
end

local commands = {}
function commands.say(conn, room, serial)
  return "= " .. tw.room(room):broadcast(("%s %s %s"):format(conn.tag, room, serial))
end
function commands.join(conn, room) conn:join(room, conn.tag) return "+ " .. room end
function commands.leave(conn, room) conn:leave(room) return "- " .. room end

return {
  defaults = {
    validate = here.validate,
    ping_period = 0,
    max_backlog = "64M",
    on_start = function(conn) conn.tag = conn.query.tag end,
    handle_message = function(conn, line)
      local command, room, serial = line:match("^(%a+) (%w+) ?(%d*)$")
      conn:send(commands[command](conn, room, serial))
    end,
  },
  endpoints = { ["/text"] = {}, ["/binary"] = { codec = "binary" } },
  http = {
    ["/seen"] =
      here.route(function(request) return table.concat(seen[request.query.room], " ") end),
    ["/size"] = function() return tostring(tw.room("r1"):size() + tw.room("r2"):size()) end,
  },
}
]=]

local SEED = tonumber(os.getenv("TIDEWIRE_TEST_SEED")) or os.time() % 1000000
local WORKERS = tonumber(os.getenv("TIDEWIRE_TEST_WORKERS") or 1) > 1 and 4 or 1
local CLIENTS, BROADCASTS = 24, 6000
local ROOMS = { "r1", "r2" }

local random_state = SEED

--- 1 to limit. Of our own: clients use math.random for their frames.
local function random(limit)
  random_state = (random_state * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
  return (random_state >> 24) % limit + 1
end

-- Everything that the test does or sees has a moment: what has a smaller one was before.
local now = 0
local function moment()
  now = now + 1
  return now
end

local clients
local sessions   -- by room: one for each time that a client is in
local broadcasts -- by room, then by sender's tag: those that were said, by their serial

local function send(client, line)
  if client.path == "/binary" then
    client.peer:send_binary(line)
  else
    client.peer:send_text(line)
  end
end

-- ---- what clients do ----

local function join(client, room)
  local session = { tag = client.tag, path = client.path, join_at = moment(), runs = {}, seen = {} }
  client.rooms[room] = session
  table.insert(sessions[room], session)
  send(client, "join " .. room)
end

local function leave(client, room)
  client.rooms[room].leave_at = moment()
  send(client, "leave " .. room)
end

local function say(client, room)
  local list = broadcasts[room][client.tag]
  local said = { sent_at = moment() }
  table.insert(list, said)
  table.insert(client.unanswered, said)
  send(client, ("say %s %d"):format(room, #list))
end

--- Something that it may do now. Returns whether it spoke.
local function act(client)
  local room = ROOMS[random(#ROOMS)]
  local session, chance = client.rooms[room], random(10)
  if chance == 1 and not session then
    join(client, room)
  elseif chance <= 3 and session and session.joined_at and not session.leave_at then
    leave(client, room)
  elseif chance > 3 and #client.unanswered < 5 then
    say(client, room)
    return true
  end
  return false
end

-- ---- what clients see ----

local function on_message(client, sender, room, serial)
  local session = client.rooms[room]
  if not session then
    error(("%s is not in %s and got: %s %d"):format(client.tag, room, sender, serial))
  end
  local run = session.runs[sender]
  local last = run and run.last or client.last[room][sender] or 0
  local is_next = run and serial == last + 1 or not run and serial > last
  if not is_next then
    error(("%s got from %s, in %s: %d after %d"):format(client.tag, sender, room, serial, last))
  end
  table.insert(session.seen, sender .. " " .. serial)
  session.runs[sender] = session.runs[sender] or { first = serial }
  session.runs[sender].last = serial
  client.last[room][sender] = serial
end

local function take(client, text)
  local sign, rest = text:match("^([=+-]) (%w+)$")
  if sign == "=" then
    local said = table.remove(client.unanswered, 1)
    said.answered_at, said.answer = moment(), tonumber(rest)
  elseif sign == "+" then
    client.rooms[rest].joined_at = moment()
  elseif sign == "-" then
    client.rooms[rest].left_at = moment()
    client.rooms[rest] = nil
  else
    local sender, room, serial = text:match("^(%w+) (%w+) (%d+)$")
    on_message(client, sender, room, tonumber(serial))
  end
end

local function take_all()
  for _, client in ipairs(clients) do
    while true do
      local text, how = client.peer:step()
      assert(text or not how, how)
      if not text then break end
      take(client, text)
    end
  end
end

local function is_quiet()
  for _, client in ipairs(clients) do
    if client.unanswered[1] then return false end
    for _, session in pairs(client.rooms) do
      if not session.joined_at or session.leave_at then return false end
    end
  end
  return true
end

-- ---- what must be so ----

--- Of each sender: nothing is missing that was said while it was certainly in, nothing is there
--- from when it was not.
local function check_session(room, session)
  for sender, list in pairs(broadcasts[room]) do
    local run = session.runs[sender] or { first = math.huge, last = 0 }
    for serial, said in ipairs(list) do
      local got = serial >= run.first and serial <= run.last
      local must = said.sent_at > session.joined_at and said.answered_at < session.leave_at
      local may = said.answered_at > session.join_at and said.sent_at < session.left_at
      if must and not got or got and not may then
        error(("%s %s get %s's number %d in %s, and got %d to %d")
          :format(session.tag, must and "must" or "must not",
            sender, serial, room, run.first, run.last))
      end
    end
  end
end

--- A broadcast answers how many were in.
local function check_answer(room, said)
  local least, most = 0, 0
  for _, session in ipairs(sessions[room]) do
    if session.joined_at < said.sent_at and session.leave_at > said.answered_at then
      least = least + 1
    end
    if session.join_at < said.answered_at and session.left_at > said.sent_at then
      most = most + 1
    end
  end
  if said.answer < least or said.answer > most then
    error(("a broadcast to %s reached %d; there were %d to %d")
      :format(room, said.answer, least, most))
  end
end

--- What these sessions saw can be put into one line, in which each has seen a part: following the
--- messages that came next to each other leads nowhere twice.
local function check_one_order(room, path)
  -- by message: the set of those that came next, how many came directly before
  local nexts, before = {}, {}
  for _, session in ipairs(sessions[room]) do
    for index = 1, session.path == path and #session.seen or 0 do
      local message, last = session.seen[index], session.seen[index - 1]
      nexts[message], before[message] = nexts[message] or {}, before[message] or 0
      if last and not nexts[last][message] then
        nexts[last][message] = true
        before[message] = before[message] + 1
      end
    end
  end
  local free, left = {}, 0
  for message, count in pairs(before) do
    left = left + 1
    if count == 0 then free[#free + 1] = message end
  end
  while free[1] do
    left = left - 1
    for message in pairs(nexts[table.remove(free)]) do
      before[message] = before[message] - 1
      if before[message] == 0 then free[#free + 1] = message end
    end
  end
  assert.equal(0, left, "messages that members saw in different orders, in " .. room)
end

--- The watches got every session: each member's joins and leaves in turns.
local function check_seen(room, seen)
  local is_in, count = {}, 0
  for sign, tag in seen:gmatch("([+-])(%w+)") do
    assert.equal(sign == "-", is_in[tag] or false, tag .. " in " .. room)
    is_in[tag] = sign == "+"
    count = count + 1
  end
  assert.equal(2 * #sessions[room], count)
  for tag, still in pairs(is_in) do assert.is_false(still, tag) end
end

describe("rooms in a storm", function()
  local app

  before_each(function()
    app = server.start({ app = APP, workers = WORKERS })
    clients, sessions, broadcasts = {}, {}, {}
    for _, room in ipairs(ROOMS) do sessions[room], broadcasts[room] = {}, {} end
    for index = 1, CLIENTS do
      local tag, path = "c" .. index, index % 6 < 4 and "/text" or "/binary"
      local client = {
        tag = tag, path = path, peer = app:connect_on(index % WORKERS, path .. "?tag=" .. tag),
        rooms = {}, unanswered = {}, last = {},
      }
      for _, room in ipairs(ROOMS) do client.last[room], broadcasts[room][tag] = {}, {} end
      clients[index] = client
    end
  end)

  after_each(function()
    stream.close_all()
    app:stop()
  end)

  it(("give each member the messages of its time (TIDEWIRE_TEST_SEED=%d)"):format(SEED), function()
    print(("\nrooms_storm_spec: TIDEWIRE_TEST_SEED=%d"):format(SEED))
    local said = 0
    local function turn()
      take_all()
      for _ = 1, said < BROADCASTS and 60 or 0 do
        said = said + (act(clients[random(CLIENTS)]) and 1 or 0)
      end
      return said >= BROADCASTS and is_quiet()
    end
    assert.is_true(loop.wait_until(turn, 4 * loop.patience), "answers are missing")
    for _, client in ipairs(clients) do
      for _, room in ipairs(ROOMS) do
        if client.rooms[room] then leave(client, room) end
      end
    end
    assert.is_true(loop.wait_until(turn), "answers are missing")

    assert.equal("0", app:http("/size").body)
    for _, room in ipairs(ROOMS) do
      assert.is_true(#sessions[room] > 50)
      for _, session in ipairs(sessions[room]) do check_session(room, session) end
      for _, list in pairs(broadcasts[room]) do
        for _, each in ipairs(list) do check_answer(room, each) end
      end
      check_one_order(room, "/text")
      check_one_order(room, "/binary")
      local seen = {}
      for worker = 0, app.workers - 1 do
        seen[worker] = app:http_on(worker, "/seen?room=" .. room).body
        check_seen(room, seen[worker])
        assert.equal(seen[0], seen[worker])
      end
    end
  end)
end)
