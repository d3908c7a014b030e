-- globals.lua -- warns of globals that hooks write: all connections share them, which is seldom
-- meant.
--
-- While the app runs, a metatable of the generation's globals sees each new one; existing ones are
-- read and written as before. Globals that loading writes are meant: at the top level of a file, in
-- on_load, in on_reload, and in functions that these have started. `tidewire check` reads the files
-- (global_writes.lua), and so sees code that never runs.

local core = require "tidewire.core"
local global_writes = require "tidewire.load.global_writes"

local globals = {}

local rawset, getinfo = rawset, debug.getinfo

local ADVICE <const> =
  "the global '%s' is written in a function: all connections share it. Write `local` before it, "
    .. "or keep it in a field of `conn`; what is meant for all is better a `local` at the top "
    .. "of the file"

--- The place where the metamethod was called, if that is a function of a script's, and not the top
--- level of a file.
local function place_of_write()
  local caller = getinfo(3, "Sl")
  if caller and caller.what == "Lua" then
    return ("%s:%d"):format(caller.source:match("^@(.*)") or caller.short_src, caller.currentline)
  end
end

--- Warns, once for each name and each line, of globals that are new from now on. A metatable that
--- the script has set for its globals stays.
---@param env table  the globals
function globals.watch(env)
  if getmetatable(env) ~= nil then
    return
  end
  local reported = {}
  setmetatable(env, {
    __newindex = function(_, name, value)
      rawset(env, name, value)
      if value == nil or reported[name] or core.scope() then
        return
      end
      local place = place_of_write()
      if place and not reported[place] then
        reported[name], reported[place] = true, true
        core.log("warn", "global_written", nil,
          "why", place .. ": " .. ADVICE:format(tostring(name)))
      end
    end,
  })
end

--- Is the line in one of these functions?
local function is_in(functions, file, line)
  for _, f in pairs(functions) do
    local info = getinfo(f, "S")
    if info.source == "@" .. file and line >= info.linedefined and line <= info.lastlinedefined then
      return true
    end
  end
  return false
end

--- Where functions of these files write globals: once for each name in a file.
---@param files table<string, true>
---@param meant function[]  globals that these functions write are meant
---@return tidewire.LoadProblem[]
function globals.find(files, meant)
  local problems = {}
  for file in pairs(files) do
    local chunk, reported = loadfile(file, "t"), {}
    for _, write in ipairs(chunk and global_writes.find(chunk) or {}) do
      if not reported[write.name] and not is_in(meant, file, write.line) then
        reported[write.name] = true
        problems[#problems + 1] = {
          file = file, line = write.line, message = ADVICE:format(write.name),
        }
      end
    end
  end
  table.sort(problems, function(one, other)
    return one.file < other.file or one.file == other.file and one.line < other.line
  end)
  return problems
end

return globals
