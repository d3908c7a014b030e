-- run.lua -- the benchmark: reads the command line of scripts/bench, and runs the parts.
--
-- parts.lua has the parts and their goals, processes.lua starts servers and load, report.lua
-- prints.

package.path = arg[0]:match "^.*/" .. "?.lua;" .. package.path
local parts = require "parts"
local processes = require "processes"
local report = require "report"

local options = { runs = 5, seconds = 2 }
local only, memory = {}, true

---Ends the program: the command line is wrong.
local function misuse(format, ...)
  io.stderr:write("scripts/bench: ", format:format(...), "\n")
  os.exit(2)
end

local function known_part(name)
  for _, part in ipairs(parts) do
    if part.name == name then return true end
  end
  return false
end

local function part_names()
  local names = {}
  for i, part in ipairs(parts) do names[i] = part.name end
  return table.concat(names, ", ")
end

---name -> what it does with its argument; those in `flags` have none
local settings = {
  ["--runs"] = function(text)
    options.runs = math.tointeger(tonumber(text))
    if not options.runs or options.runs < 1 then misuse("--runs needs a number, 1 or more") end
  end,
  ["--seconds"] = function(text)
    options.seconds = tonumber(text)
    if not options.seconds or not (options.seconds >= 0.1 and options.seconds <= 600) then
      misuse("--seconds needs a number from 0.1 to 600")
    end
  end,
  ["--only"] = function(text)
    if not known_part(text) then misuse("--only needs one of %s", part_names()) end
    only[text] = true
  end,
  ["--program"] = function(text) options.program = text end,
  ["--build"] = function(text) options.build = text end,
}
local flags = {
  ["--quick"] = function() options.runs, options.seconds = 2, 0.5 end,
  ["--trial"] = function() options.runs, options.seconds, options.trial = 1, 0.02, true end,
  ["--no-memory"] = function() memory = false end,
  ["--json"] = function() options.json = true end,
}

local i = 1
while arg[i] do
  local name = arg[i]
  if settings[name] then
    i = i + 1
    if not arg[i] then misuse("%s needs a value", name) end
    settings[name](arg[i])
  elseif flags[name] then
    flags[name]()
  else
    misuse("'%s' is not an option; scripts/bench --help lists them", name)
  end
  i = i + 1
end

local function run()
  report.open(options)
  processes.open(options)
  for _, part in ipairs(parts) do
    local wanted = next(only) == nil and not part.on_demand or only[part.name]
    if wanted and (memory or part.name ~= "memory") then part.measure(options) end
  end
end

local done, problem = xpcall(run, function(problem)
  -- A sentence for users is a table; anything else is a mistake in the benchmark.
  return type(problem) == "table" and problem.sentence or debug.traceback(problem)
end)
processes.close()
if not done then
  report.clear()
  io.stderr:write("scripts/bench: ", problem, "\n")
  os.exit(1)
end
