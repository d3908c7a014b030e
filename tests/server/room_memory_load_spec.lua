-- room_memory_load_spec.lua -- connections join and come back while all workers broadcast to the
-- room without a pause: each gets what the room remembers and what comes, no gap and no double.
--
-- Messages have numbers of their senders. The history of the room says afterwards in which order
-- they were broadcast, and what a connection got must be a part of it without a gap.

local chunks = require "support.chunks"
local cjson = require "cjson"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local WORKERS <const> = 4
local SENDERS <const> = 3 -- on each worker

local APP = [[
local chunks = require "chunks"
local here = require "here"
local tw = require "tidewire"

local flag = tw.shared("flag")

--- Broadcasts until the flag is gone; each message has the sender's name and a number.
local function flood(sender, room)
  local number = 0
  while flag:get("flood") do
    for _ = 1, 5 do
      number = number + 1
      tw.room(room):broadcast(("%s %d"):format(sender, number), { key = sender })
    end
    tw.sleep(0.002)
  end
  flag:incr("ended", 1)
end

return {
  rooms = {
    ["chat:*"] = { history = 1000000, history_bytes = "64M" },
    ["last:*"] = { retain = true },
  },
  limits = { room_memory = "256M" },
  defaults = { validate = here.validate, ping_period = 0 },
  endpoints = {
    ["/join"] = {
      on_start = function(conn)
        local query = conn.query
        local _, position = conn:join(query.room, nil, {
          history = tonumber(query.history), after = query.after, epoch = query.epoch,
          retained = query.retained and true,
        })
        position.position = true
        conn:send(tw.json.encode(position))
      end,
    },
  },
  http = {
    ["POST /run"] = here.route(function(request)
      return chunks.run(request.body, { tw = tw, flag = flag, flood = flood })
    end),
  },
}
]]

local app
lazy_setup(function() app = server.start({ app = APP, workers = WORKERS }) end)
lazy_teardown(function() app:stop() end)
after_each(stream.close_all)

local function run(worker, code, ...)
  local results = chunks.ask_on(app, worker, code:format(...))
  return results
end

local function start_flood(room)
  run(0, "flag:set('flood', true) flag:set('ended', 0)")
  for worker = 0, WORKERS - 1 do
    for sender = 1, SENDERS do
      run(worker, "tw.spawn(flood, '%d.%d', %q)", worker, sender, room)
    end
  end
end

local function end_flood()
  run(0, "flag:delete('flood')")
  local expected = tostring(WORKERS * SENDERS)
  assert.equal(expected,
    loop.ask_until(function() return run(0, "return flag:get('ended')") end, expected))
end

--- Everything that was said, in its order.
local function history_of(room)
  local text = run(0, [[
    local list = {}
    for i, entry in ipairs(tw.room(%q):history()) do
      assert(entry.offset == i)
      list[i] = entry.payload
    end
    return tw.json.encode(list)
  ]], room)
  return cjson.decode(text)
end

--- A client that joins, gets at least `count` messages after its position, and leaves.
local function visit(room, query, count)
  local path = "/join?room=" .. room
  for name, value in pairs(query) do path = ("%s&%s=%s"):format(path, name, value) end
  local peer = app:connect_on(math.random(0, WORKERS - 1), path)
  local seen, position = {}, nil
  repeat
    local message = assert(peer:receive())
    if message:sub(1, 1) == "{" then
      position = cjson.decode(message)
      assert.is_true(#seen >= position.replayed) -- what comes later may come before the answer
    else
      seen[#seen + 1] = message
    end
  until position and #seen >= position.replayed + count
  if math.random(2) == 1 then peer:close() else peer.stream:abort() end
  return { seen = seen, position = position }
end

describe("a room that all workers broadcast to", function()
  it("gives each connection a part of its history without a gap or a double", function()
    local room = "chat:flood"
    start_flood(room)
    local visits = {}
    for i = 1, 60 do
      local one = visit(room, i % 3 == 0 and { history = 0 } or { history = math.random(500) },
        math.random(0, 100))
      visits[#visits + 1] = one
      -- it comes back where it was
      local offset = one.position.offset + #one.seen - one.position.replayed
      local again = visit(room, { after = offset, epoch = one.position.epoch }, math.random(0, 50))
      assert.is_true(again.position.recovered)
      assert.equal(offset, again.position.offset - again.position.replayed)
      visits[#visits + 1] = again
    end
    end_flood()
    local all = history_of(room)
    for _, one in ipairs(visits) do
      local first = one.position.offset - one.position.replayed
      for i, message in ipairs(one.seen) do
        if all[first + i] ~= message then
          assert.equal(all[first + i], message, ("message %d behind %d"):format(i, first))
        end
      end
    end
    local numbers = {}
    for _, message in ipairs(all) do
      local sender, number = message:match("^(%S+) (%d+)$")
      assert.equal((numbers[sender] or 0) + 1, tonumber(number))
      numbers[sender] = tonumber(number)
    end
  end)

  it("gives each connection the last message of each sender, and then all", function()
    local room = "last:flood"
    start_flood(room)
    for _ = 1, 40 do
      local one = visit(room, { retained = 1 }, math.random(20, 200))
      local last = {}
      for i, message in ipairs(one.seen) do
        local sender, number = message:match("^(%S+) (%d+)$")
        if i <= one.position.replayed then
          assert.is_nil(last[sender])
        elseif last[sender] then
          assert.equal(last[sender] + 1, tonumber(number))
        end
        last[sender] = tonumber(number)
      end
    end
    end_flood()
  end)
end)
