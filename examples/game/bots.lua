-- bots.lua -- many players over real WebSockets, to measure the load of their match on the server.
--
-- Run:   lua5.4 examples/game/bots.lua --url ws://127.0.0.1:8080/game/arena \
--               --count 200 --seconds 60
--               --inputs 10     messages a second from each
--
-- Plain Lua and luv (Debian: lua5.4, lua-luv); needs nothing of Tidewire. Each bot steers at random
-- and notes the tick of each state that it gets. At the end the program prints the rate of states,
-- the number of missing ticks, and the longest time between two states. It ends by itself; with 1
-- if a bot could not connect, was closed or received nothing. Its WebSocket client is minimal: it
-- trusts the server.

local uv = require "luv"

local MOST = { count = 1000, seconds = 3600, inputs = 40 }

local function read_options(args)
  local options = { url = "ws://127.0.0.1:8080/game/arena", count = 200, seconds = 60, inputs = 10 }
  for i = 1, #args, 2 do
    local name, value = args[i]:match("^%-%-(%w+)$"), args[i + 1]
    local most = MOST[name]
    local number = most and math.tointeger(tonumber(value))
    if not options[name] or not value
      or most and not (number and number >= 1 and number <= most) then
      io.stderr:write("usage: bots.lua [--url ws://HOST:PORT/PATH] [--count 1..1000] "
        .. "[--seconds 1..3600]",
        " [--inputs 1..40]\n")
      os.exit(2)
    end
    options[name] = number or value
  end
  options.host, options.port, options.path = options.url:match("^ws://([^:/]+):(%d+)(/.*)$")
  if not options.host then
    io.stderr:write("bots.lua: the URL must look like ws://127.0.0.1:8080/game/arena\n")
    os.exit(2)
  end
  return options
end

-- ---- frames (RFC 6455, section 5) ----

local TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA

-- A client's short frame. The mask is all zeros, which leaves the payload as it is.
local function frame(opcode, payload)
  assert(#payload < 126)
  return string.pack(">BBI4", 0x80 | opcode, 0x80 | #payload, 0) .. payload
end

-- Returns the opcode and payload of the frame at a position, and the position of the next frame;
-- nil if the frame is not complete.
local function read_frame(bytes, position)
  local have = #bytes - position + 1
  if have < 2 then return nil end
  local first, length = bytes:byte(position, position + 1)
  local head = length == 127 and 10 or length == 126 and 4 or 2
  if have < head then return nil end
  if head > 2 then length = string.unpack(head == 4 and ">I2" or ">I8", bytes, position + 2) end
  if have < head + length then return nil end
  return first & 0xF, bytes:sub(position + head, position + head + length - 1),
    position + head + length
end

-- ---- a bot ----

local Bot = {}
Bot.__index = Bot

local function new_bot(options, number)
  local bot = setmetatable({
    tcp = uv.new_tcp(), rest = "", states = 0, missing = 0, events = 0, longest = 0, errors = 0,
  }, Bot)
  bot.tcp:connect(options.host, tonumber(options.port), function(problem)
    if problem then return bot:fail(problem) end
    bot.tcp:nodelay(true)
    bot.tcp:write(table.concat({
      ("GET %s?name=load%%20%d HTTP/1.1"):format(options.path, number), "Host: " .. options.host,
      "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "\r\n",
    }, "\r\n"))
    bot.tcp:read_start(function(read_problem, bytes)
      if not bytes then return bot:fail(read_problem or "the server has closed the connection") end
      bot:read(bytes)
    end)
  end)
  return bot
end

-- A connection that ends before the program ends it is a failure.
function Bot:fail(problem)
  self.problem = self.problem or problem
  if not self.tcp:is_closing() then self.tcp:close() end
end

function Bot:read(bytes)
  bytes = self.rest .. bytes
  local position = 1
  if not self.is_open then
    local head_end = select(2, bytes:find("\r\n\r\n", 1, true))
    if not head_end then
      self.rest = bytes
      return
    end
    if not bytes:find("^HTTP/1.1 101 ") then return self:fail(bytes:match("^[^\r\n]*")) end
    self.is_open, position = true, head_end + 1
  end
  while true do
    local opcode, payload, next_position = read_frame(bytes, position)
    if not opcode then break end
    self:on_frame(opcode, payload)
    position = next_position
  end
  self.rest = bytes:sub(position)
end

function Bot:on_frame(opcode, payload)
  if opcode == PING then
    self.tcp:write(frame(PONG, payload))
  elseif opcode == CLOSE then
    self:fail("closed: "
      .. (#payload >= 2 and string.unpack(">I2", payload) .. " " .. payload:sub(3) or "no code"))
  elseif opcode == TEXT then
    local kind = payload:match('"type":"(%l+)"')
    if kind == "state" then
      self:note_state(tonumber(payload:match('"tick":(%d+)')))
    elseif kind == "events" then
      self.events = self.events + 1
    elseif kind == "error" then
      self.errors = self.errors + 1
    end
  end
end

function Bot:note_state(tick)
  local now = uv.hrtime()
  if self.tick then
    self.missing = self.missing + tick - self.tick - 1
    self.longest = math.max(self.longest, now - self.at)
  end
  self.first_at = self.first_at or now
  self.tick, self.at = tick, now
  self.states = self.states + 1
end

-- Mostly keeps the heading, now and then changes it, and shoots a third of the time.
function Bot:steer()
  if not self.is_open or self.problem then return end
  if not self.heading or math.random() < 0.1 then
    self.heading, self.fire = math.random(0, 359), math.random() < 0.33
  end
  self.heading = (self.heading + math.random(-8, 8)) % 360
  self.tcp:write(frame(TEXT, ('{"type":"steer","heading":%d,"thrust":%d,"fire":%s}'):format(
    self.heading, math.random(60, 100), self.fire)))
end

-- ---- all of them ----

local function report(bots, options)
  local states, missing, events, longest, errors, failed = 0, 0, 0, 0, 0, 0
  local least, most = math.huge, 0
  for _, bot in ipairs(bots) do
    local seconds = bot.at and (bot.at - bot.first_at) / 1e9 or 0
    local rate = seconds > 0 and (bot.states - 1) / seconds or 0
    least, most = math.min(least, rate), math.max(most, rate)
    states, missing, events = states + bot.states, missing + bot.missing, events + bot.events
    longest, errors = math.max(longest, bot.longest), errors + bot.errors
    if bot.problem or bot.states == 0 then
      failed = failed + 1
      if failed <= 5 then print("a bot failed: " .. (bot.problem or "it received nothing")) end
    end
  end
  print(("%d bots for %d s, %d inputs a second each; %d failed")
    :format(#bots, options.seconds, options.inputs, failed))
  print(
    ("states a second and bot: %.2f to %.2f; %d in all, %d messages of events, %d errors"):format(
      least, most, states, events, errors))
  print(("ticks missing between states: %d; longest time between two: %.0f ms")
    :format(missing, longest / 1e6))
  return failed
end

local options = read_options(arg)
local bots = {}
local inputs = uv.new_timer()

-- Connects a few bots at a time, so that the server's accept queue never overflows. Bots steer in
-- turns.
local due, turn = 0, 0
inputs:start(0, 10, function()
  if #bots < options.count then
    for _ = 1, math.min(5, options.count - #bots) do
      bots[#bots + 1] = new_bot(options, #bots + 1)
    end
  end
  due = due + options.inputs * #bots / 100
  while due >= 1 do
    due, turn = due - 1, turn % #bots + 1
    bots[turn]:steer()
  end
end)

uv.new_timer():start(options.seconds * 1000, 0, function() uv.stop() end)
uv.run()
local failed = report(bots, options)
for _, bot in ipairs(bots) do
  if not bot.tcp:is_closing() and bot.is_open then
    bot.tcp:write(frame(CLOSE, string.pack(">I2", 1000)))
  end
end
uv.run("nowait")
os.exit(failed == 0 and 0 or 1)
