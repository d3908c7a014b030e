-- tasks.lua -- many clients in one Lua program: coroutines that wait with the functions of the test
-- kit.
--
-- Inside a task `loop.wait_until` of the kit, on which all waiting of its clients stands, lets the
-- other tasks run. Knows nothing of what they do.

local loop = require "support.loop"
local uv = require "luv"

local tasks = {}

local running = {} -- coroutine -> what to do when it has failed
local current

local wait_alone = loop.wait_until

---@diagnostic disable-next-line: duplicate-set-field
function loop.wait_until(condition, seconds)
  if not current then return wait_alone(condition, seconds) end
  local deadline = loop.now() + (seconds or loop.patience)
  while true do
    local results = table.pack(condition())
    if results[1] then return table.unpack(results, 1, results.n) end
    if loop.now() >= deadline then return nil end
    coroutine.yield()
  end
end

--- Starts a task. `failed` gets the message of an error that it raises.
---@param f fun()
---@param failed fun(problem: string)
function tasks.start(f, failed)
  running[coroutine.create(f)] = failed
end

--- How many have not ended.
---@return integer
function tasks.count()
  local count = 0
  for _ in pairs(running) do count = count + 1 end
  return count
end

local function resume(task, failed)
  current = task
  local good, problem = coroutine.resume(task)
  current = nil
  if coroutine.status(task) ~= "dead" then return end
  running[task] = nil
  if not good then failed(debug.traceback(task, tostring(problem))) end
end

local ticker

--- Runs all tasks until `condition` is true, or the time is over.
---@param condition fun(): any
---@param seconds number
---@return boolean
function tasks.run_until(condition, seconds)
  local deadline = loop.now() + seconds
  ticker = ticker or uv.new_timer()
  ticker:start(5, 5, function() end)
  while not condition() and loop.now() < deadline do
    uv.run("once")
    local list = {}
    for task, failed in pairs(running) do list[#list + 1] = { task, failed } end
    for _, each in ipairs(list) do resume(each[1], each[2]) end
  end
  ticker:stop()
  return condition() and true or false
end

return tasks
