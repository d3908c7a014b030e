-- measure.lua -- what the parts of the benchmark share: how many connections, how long, the
-- smallest of several figures, names of messages.

local processes = require "processes"
local report = require "report"

local measure = {}

local KIB = 1024
---Files that server and load have open beside their connections.
local OTHER_FILES = 200
---With --trial so many connections, in place of any larger number.
local TRIAL_CONNECTIONS = 20

---Keeps the smallest of each figure of several runs.
---@param best table<any, table<string, number>>
---@param key any  the figures' place in `best`
---@param figures table<string, number>
function measure.keep(best, key, figures)
  best[key] = best[key] or {}
  for name, value in pairs(figures) do
    best[key][name] = math.min(best[key][name] or value, value)
  end
end

---The remark behind a row whose value is above its goal.
function measure.above(value, goal)
  return goal and value > goal and "above the goal" or nil
end

---So many connections, or few with --trial.
function measure.few(options, wanted)
  return options.trial and math.min(wanted, TRIAL_CONNECTIONS) or wanted
end

---So many connections, or fewer where not as many files may be open.
function measure.connections_for(options, wanted)
  if options.trial then return measure.few(options, wanted) end
  local files = processes.max_files()
  if not files or files >= wanted + OTHER_FILES then return wanted end
  report.note("only %d open files are allowed (ulimit -n), %d connections need %d: %d connections",
    files, wanted, wanted + OTHER_FILES, files - OTHER_FILES)
  return files - OTHER_FILES
end

---Adds the options of load.c that say how long it takes.
function measure.with_times(options, load)
  load.seconds = options.seconds
  if options.trial then load.warm_up, load.settle = 0, 0.05 end
  return load
end

---"20 B", "16 KiB", "JSON"
function measure.message_name(row)
  if row.json then return "JSON" end
  return row.size < KIB and row.size .. " B" or row.size // KIB .. " KiB"
end

---What a load of this kind measures: "echo", "broadcast"
function measure.kind_name(of)
  return of.kind == "bcast" and "broadcast" or of.kind
end

function measure.smallest_of(options)
  return ("the smallest of %d run%s"):format(options.runs, options.runs == 1 and "" or "s")
end

return measure
