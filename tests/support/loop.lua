-- loop.lua -- waiting for a condition, with a deadline.
--
-- For the server tests: sockets and processes are on luv's default loop, and a test waits until its
-- condition is true. Owns one timer, which checks a condition that no event announces (a line in a
-- file, a number in /proc) every 10 ms. Runs on busted's one thread. Knows nothing of the
-- conditions.

local uv = require "luv"

local loop = {}

local LOOK_AGAIN_MS = 10

--- How long a test waits before it calls a thing missing, in seconds. Long on purpose: only a
--- failing test waits it out. TIDEWIRE_TEST_PATIENCE (a factor) stretches it on slow machines and
--- under slow tools.
loop.patience = 60 * (tonumber(os.getenv("TIDEWIRE_TEST_PATIENCE")) or 1)

local ticker
local waits = 0 -- how many are under way, one inside the condition of another

local Wait = { __close = function()
  waits = waits - 1
  if waits == 0 then ticker:stop() end
end }

--- Seconds of a clock that only goes forward.
---@return number seconds
function loop.now()
  return uv.hrtime() / 1e9
end

--- Run the loop until `condition` returns something true, and return what it returned; nil when the
--- time is over. The condition may read and write sockets, and wait in turn.
---@param condition fun(): any, ...
---@param seconds number? how long to wait; `loop.patience` when left out
---@return any ... what the condition returned, or nil
function loop.wait_until(condition, seconds)
  local deadline = loop.now() + (seconds or loop.patience)
  ticker = ticker or uv.new_timer()
  if waits == 0 then ticker:start(LOOK_AGAIN_MS, LOOK_AGAIN_MS, function() end) end
  waits = waits + 1
  local _ <close> = setmetatable({}, Wait)
  local results
  repeat
    uv.run("nowait")
    results = table.pack(condition())
    if results[1] then break end
    uv.run("once")
  until loop.now() >= deadline
  if not results[1] then results = table.pack(condition()) end
  if results[1] then return table.unpack(results, 1, results.n) end
  return nil
end

--- Ask until that is the answer, and return the last one. The question may wait, for what a server
--- answers.
---@param question fun(): any
---@param expected any
---@return any answer
function loop.ask_until(question, expected)
  local deadline = loop.now() + loop.patience
  local answer
  repeat
    answer = question()
  until answer == expected or loop.now() > deadline
  return answer
end

--- Let time pass while sockets go on working: for "this must not happen meanwhile", never to wait
--- for a thing.
---@param seconds number
function loop.pass(seconds)
  loop.wait_until(function() return false end, seconds)
end

return loop
