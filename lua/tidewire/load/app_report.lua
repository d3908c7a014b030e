-- app_report.lua -- the problems that are found while one app loads.
--
-- Collects errors and warnings, and finds the line of each in the source. Owns the sources that it
-- read for that. Runs while an app loads, never later; knows nothing of the meaning of messages.

local source_lines = require "tidewire.load.source_lines"

---@class tidewire.LoadProblem
---@field file string|nil       nil: it is in no file but in the environment or on the command line
---@field line integer|nil      nil: unknown
---@field message string
---@field traceback string|nil  of an error in a script

---@class tidewire.Place  of a table or a key in it
---@field file string
---@field path any[]  keys from the table on that the file returns; {}: the file as a whole

---@class tidewire.AppReport
---@field file string                       the app's
---@field facts tidewire.Facts
---@field scripts tidewire.Generation       the app's code, once it runs
---@field errors tidewire.LoadProblem[]
---@field warnings tidewire.LoadProblem[]
local Report = {}
Report.__index = Report
Report.__name = "tidewire.app_report"

---@param file string
---@param facts tidewire.Facts
---@return tidewire.AppReport
function Report.new(file, facts)
  return setmetatable({
    file = file, facts = facts, errors = {}, warnings = {}, sources = {},
  }, Report)
end

--- The place of a key of the app's own file.
---@return tidewire.Place
function Report:place(...)
  return { file = self.file, path = { ... } }
end

local function line_of(self, place)
  if #place.path == 0 then
    return nil
  end
  local file = place.file
  if not self.sources[file] then
    local handle = io.open(file, "r")
    self.sources[file] = source_lines.read(handle and handle:read("a") or "")
    if handle then
      handle:close()
    end
  end
  return self.sources[file]:find(place.path)
end

local function new_problem(self, place, message)
  return { file = place and place.file, line = place and line_of(self, place), message = message }
end

---@param place tidewire.Place|nil
---@param message string
function Report:error(place, message)
  table.insert(self.errors, new_problem(self, place, message))
end

---@param place tidewire.Place|nil
---@param message string
function Report:warn(place, message)
  table.insert(self.warnings, new_problem(self, place, message))
end

--- Adds the findings of a check of options.
---@param findings tidewire.Findings
---@param file string|nil  nil: the options came from no file
function Report:take(findings, file)
  for _, problem in ipairs(findings.problems) do
    self:error(file and { file = file, path = problem.path }, problem.message)
  end
  for _, warning in ipairs(findings.warnings) do
    self:warn(file and { file = file, path = warning.path }, warning.message)
  end
end

--- The order of files that have problems: problems without a file first, then the app's own file.
local function ranks_of(self, problems)
  local ranks, count = { [self.file] = 1 }, 1
  for _, problem in ipairs(problems) do
    if problem.file and not ranks[problem.file] then
      count = count + 1
      ranks[problem.file] = count
    end
  end
  return ranks
end

--- Errors or warnings in the order of reading: file by file, by lines. Problems without a line come
--- last in their file; equal ones stay in the order in which they were found.
---@param problems tidewire.LoadProblem[]
---@return tidewire.LoadProblem[]
function Report:in_order(problems)
  local ranks, found, sorted = ranks_of(self, problems), {}, {}
  for i, problem in ipairs(problems) do
    found[problem], sorted[i] = i, problem
  end
  table.sort(sorted, function(one, other)
    local rank, other_rank =
      one.file and ranks[one.file] or 0, other.file and ranks[other.file] or 0
    local line, other_line = one.line or math.huge, other.line or math.huge
    if rank ~= other_rank then
      return rank < other_rank
    elseif line ~= other_line then
      return line < other_line
    end
    return found[one] < found[other]
  end)
  return sorted
end

--- The keys of `endpoints` or `http` in order; a key that is no string is reported.
---@param label "endpoints"|"http"
---@param values table
---@return string[]
function Report:text_keys(label, values)
  local keys = {}
  for key in pairs(values) do
    if type(key) == "string" then
      keys[#keys + 1] = key
    else
      self:error(self:place(label),
        ('%s: [%s] is no path: write ["/path"] = …'):format(label, tostring(key)))
    end
  end
  table.sort(keys)
  return keys
end

return Report
