-- rooms_load_spec.lua -- rooms that are many, large, or have members that do not read: their cost,
-- and that no connection waits for another.

local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local here = require "here"
local record = require "record"
local tw = require "tidewire"

local lobby = tw.room("lobby")

local function member(options)
  options.ping_period = 0
  options.validate = here.validate
  options.on_start = function(conn) conn:join("lobby") conn:send("hello") end
  options.on_close = function(conn, code) record("close", conn.query.name, code) end
  options.on_drain = function(conn) record("drain", conn.query.name) end
  return options
end

-- Commands of the endpoint "/"; each has an answer.
local commands = {
  size = function() return lobby:size() .. " " .. #lobby:members() end,
  memory = function()
    collectgarbage()
    collectgarbage()
    return math.floor(collectgarbage("count"))
  end,

  -- Broadcasts one message, which begins with its number.
  say = function(_, number, bytes)
    return lobby:broadcast(("%06d"):format(number) .. ("x"):rep(bytes - 6))
  end,

  -- Looks 10,000 names up.
  look = function()
    for index = 1, 10000 do
      local room = tw.room("a room of which there are many, number " .. index)
      assert(room:size() == 0 and #room:members() == 0 and room:broadcast("hello?") == 0)
    end
  end,

  -- Goes in and out of 10,000 rooms.
  visit = function(conn)
    for index = 1, 10000 do
      conn:join("a room of which there are many, number " .. index)
      conn:leave("a room of which there are many, number " .. index)
    end
  end,

  -- Enters `count` rooms; leaves all but each third.
  enter = function(conn, count)
    for index = 1, count do conn:join("r" .. index) end
    for index = 1, count do
      if index % 3 > 0 then conn:leave("r" .. index) end
    end
    return #conn:rooms()
  end,

  -- Enters rooms, or leaves them, the first first; how many there are then.
  fill = function(conn, first, last)
    for index = first, last do conn:join("r" .. index) end
    return #conn:rooms()
  end,
  empty = function(conn, first, last)
    for index = first, last do conn:leave("r" .. index) end
    return #conn:rooms()
  end,

  -- How many are in these rooms.
  sum = function(_, count)
    local sum = 0
    for index = 1, count do sum = sum + tw.room("r" .. index):size() end
    return sum
  end,
}

return {
  endpoints = {
    ["/"] = {
      handle_message = function(conn, message)
        local command, first, second = message:match("^(%a+) ?(%d*) ?(%d*)$")
        conn:send(tostring((commands[command](conn, tonumber(first), tonumber(second)))))
      end,
    },
    ["/close"] = member({ max_backlog = "256K" }),
    ["/drop"]  = member({ max_backlog = "256K", slow_client = "drop" }),
    ["/roomy"] = member({ max_backlog = "4M", slow_client = "drop" }),
  },
  http = {
    -- How many messages were queued, and how many dropped, of all workers' clients.
    ["/counts"] = function()
      local stats = tw.stats()
      return stats.messages_sent .. " " .. stats.messages_dropped
    end,
  },
}
]]

local app, boss

before_each(function()
  app = server.start({ app = APP })
  boss = app:connect("/")
end)

after_each(function()
  stream.close_all()
  app:stop()
end)

--- A member of the lobby; its on_start has run. The caller gives its worker's number, so that
--- members are spread.
local function enter(path, name, number, options)
  local peer = app:connect_on(number % app.workers, ("%s?name=%s"):format(path, name), options)
  assert.equal("hello", (peer:receive()))
  return peer
end

--- The number of the next message.
local function next_number(peer)
  local message, problem, code = peer:receive()
  if not message then error(("no message: %s %s"):format(problem, code or ""), 2) end
  return tonumber(message:sub(1, 6))
end

local function ask(command)
  local answer = boss:ask(command)
  return answer
end

--- Asks until that is the answer.
local function ask_until(command, expected)
  assert.equal(expected, loop.ask_until(function() return ask(command) end, expected))
end

describe("rooms without members", function()
  it("cost nothing", function()
    ask("visit")
    local before, rss = tonumber(ask("memory")), app.process:rss_kib()
    for _ = 1, 10 do
      ask("look")
      ask("visit")
    end
    local grown = tonumber(ask("memory")) - before
    assert.is_true(grown < 64, ("Lua's memory grew by %d KiB"):format(grown))
    if app.process:is_sanitized() then return end
    grown = app.process:rss_kib() - rss
    assert.is_true(grown < 1024, ("memory grew by %d KiB"):format(grown))
  end)
end)

describe("one connection in very many rooms", function()
  it("leaves them all when it closes", function()
    local ada = app:connect("/")
    assert.equal("1000", (ada:ask("enter 3000")))
    assert.equal("1000", ask("sum 3000"))
    ada:abort()
    ask_until("sum 3000", "0")
  end)

  it("lists and leaves each as quickly as if there were few", function()
    local ada = app:connect("/")
    local step, count = 5000, 100000
    for last = step, count, step do
      assert.equal(tostring(last), (ada:ask(("fill %d %d"):format(last - step + 1, last))))
    end
    for last = step, count, step do -- within the handler's second, each
      assert.equal(tostring(count - last), (ada:ask(("empty %d %d"):format(last - step + 1, last))))
    end
    ada:close(1000)
  end)
end)

describe("a room of 500", function()
  it("gets every message, in order; and is empty when its members have left", function()
    local peers = {}
    for index = 1, 500 do peers[index] = enter("/close", index, index) end
    assert.equal("500 500", ask("size"))
    for number = 1, 10 do boss:send_text(("say %d 100"):format(number)) end
    for _ = 1, 10 do assert.equal("500", (boss:receive())) end
    for index, peer in ipairs(peers) do
      for number = 1, 10 do assert.equal(number, next_number(peer)) end
      if index % 2 == 0 then peer:abort() end
    end
    ask_until("size", "250 250")
    assert.equal("250", ask("say 11 100"))
    for index = 1, 499, 2 do
      assert.equal(11, next_number(peers[index]))
      peers[index]:drop()
    end
    ask_until("size", "0 0")
  end)
end)

describe("members that do not read", function()
  local KIB = 1024

  --- Members that have stopped reading.
  local function enter_slow(path, count)
    local peers = {}
    for index = 1, count do
      peers[index] = enter(path, "slow" .. index, index, { receive_buffer = 65536 })
      peers[index].stream:pause()
    end
    return peers
  end

  --- Broadcasts numbered messages of 64 KiB, each of which the quick ones must get before the next,
  --- until enough(the answer) is true. Returns how many there were.
  local function broadcast_until(enough, quick)
    for number = 1, 1000 do
      local answer = tonumber(ask(("say %d %d"):format(number, 64 * KIB)))
      for _, peer in ipairs(quick) do assert.equal(number, next_number(peer)) end
      if enough(answer) then return number end
    end
    error("it makes no difference to the slow ones")
  end

  --- A condition for broadcast_until: only `count` of so many members have the message queued, it
  --- was dropped for the others. The answer of the broadcast tells that where all are on the
  --- sender's worker; of other workers it tells how many were there.
  local function queued_to(count, members)
    local function counts()
      local sent, dropped = app:http("/counts").body:match("^(%d+) (%d+)$")
      return tonumber(sent), tonumber(dropped)
    end
    local sent_before, dropped_before = counts()
    return function(answer)
      sent_before = sent_before + 1 -- the answer
      local deadline = loop.now() + loop.patience
      local sent, dropped
      repeat
        sent, dropped = counts()
      until sent - sent_before + dropped - dropped_before == members or loop.now() > deadline
      local queued = sent - sent_before
      assert.equal(members, queued + dropped - dropped_before)
      if app.workers == 1 then
        assert.equal(queued, answer)
      else
        assert.is_true(queued <= answer and answer <= members)
      end
      sent_before, dropped_before = sent, dropped
      return queued == count
    end
  end

  local function enter_quick(path, count)
    local peers = {}
    for index = 1, count do peers[index] = enter(path, "quick" .. index, index) end
    return peers
  end

  it("are closed with 1008, and the others miss nothing and wait for nothing", function()
    local slow = enter_slow("/close", 3)
    local quick = enter_quick("/close", 5)
    local last = broadcast_until(function() return #app:events("close") >= 3 end, quick)
    for _, event in ipairs(app:events("close")) do
      assert.matches("^slow", event[2])
      assert.equal(1008, event[3])
    end
    assert.equal("5 5", ask("size"))
    for _, peer in ipairs(slow) do -- what it gets in the end has no gaps
      peer.stream:catch_up()
      local number = 0
      for message in function() return (peer:receive()) end do
        number = number + 1
        assert.equal(number, tonumber(message:sub(1, 6)))
      end
      assert.is_true(number < last)
      assert.is_true(peer.close_code == 1008 or peer.stream.ended ~= nil)
    end
    assert.equal("5", ask(("say %d 10"):format(last + 1)))
    for _, peer in ipairs(quick) do assert.equal(last + 1, next_number(peer)) end
    assert.equal(3, #app:events("close"))
  end)

  it("stay and lose messages with \"drop\", and get later ones when they read again", function()
    local slow = enter_slow("/drop", 3)
    local quick = enter_quick("/drop", 5)
    local last = broadcast_until(queued_to(5, 8), quick)
    assert.equal("8 8", ask("size"))
    assert.equal(0, #app:events("drain"))
    for index, peer in ipairs(slow) do
      peer.stream:catch_up()
      app:wait_event("drain", index)
    end
    assert.equal("8", ask(("say %d 10"):format(last + 1)))
    for _, peer in ipairs(quick) do assert.equal(last + 1, next_number(peer)) end
    for _, peer in ipairs(slow) do
      local before, number = 0, next_number(peer)
      while number <= last do -- what it missed it missed; the rest is in order
        assert.is_true(number > before)
        before, number = number, next_number(peer)
      end
      assert.equal(last + 1, number)
      assert.is_true(before < last)
    end
    assert.equal(0, #app:events("close"))
  end)

  it("wait for the same bytes: twenty full queues are little more than one", function()
    if app.process:is_sanitized() then return end
    enter_slow("/roomy", 20)
    local before = app.process:rss_kib()
    broadcast_until(queued_to(0, 20), {})
    local grown = app.process:rss_kib() - before
    assert.is_true(grown > 3 * KIB, ("the queues are not full: %d KiB"):format(grown))
    assert.is_true(grown < 16 * KIB, ("%d KiB for queues of 4 MiB"):format(grown))
  end)
end)
