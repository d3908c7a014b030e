-- checking.lua -- functions that the checks of the source (scripts/check_*.lua) share: reading the
-- tree, printing problems, the exit code.
--
-- A check is a program: it takes the top of the tree as its argument, prints a line for each
-- problem, and exits with 1 when it has printed one. It begins with
--
--   package.path = arg[0]:match "^.*/" .. "?.lua;" .. package.path
--   local checking = require "checking"

local checking = {}

---The top of the tree that is checked.
checking.top = arg[1] or "."

local problems = 0

---Prints a problem.
---@param where string|nil  a file, or a file with a line: "src/main.c:12"
---@param text string      with the formats of string.format
function checking.problem(where, text, ...)
  problems = problems + 1
  print((where and where .. ": " or "") .. text:format(...))
end

---Ends the check: prints how many problems there are and exits with 1 when there are any.
function checking.finish()
  if problems == 0 then return end
  local name, plural = arg[0]:match "([^/]+)%.lua$", problems == 1 and "" or "s"
  print(("%s: %d problem%s"):format(name, problems, plural))
  os.exit(1)
end

---The text of a file; nil where there is none.
---@param path string  below the top
---@return string|nil
function checking.find_text(path)
  local file <close> = io.open(checking.top .. "/" .. path)
  return file and file:read "a"
end

---The text of a file that must exist.
---@param path string  below the top
---@return string
function checking.read(path)
  return checking.find_text(path) or error(path .. " cannot be read", 0)
end

---The lines that a shell command prints at the top of the tree.
local function run(command)
  local lines = {}
  local pipe = assert(io.popen(("cd '%s' && { %s; }"):format(checking.top, command)))
  for line in pipe:lines() do lines[#lines + 1] = line end
  assert(pipe:close(), command .. ": failed")
  return lines
end

---The files below a folder whose names match, in order of their paths: "src/main.c".
---@param folder string
---@param name string  a pattern of find(1): "*.[ch]"
---@return string[]
function checking.list(folder, name)
  return run(("find '%s' -name '%s' | LC_ALL=C sort"):format(folder, name))
end

---All files of the tree that git knows or would take; without git, those outside build/.
---@return string[]
function checking.all_files()
  return run("git ls-files --cached --others --exclude-standard 2> /dev/null"
    .. " || find . -type f -not -path './build/*' | sed 's,^[.]/,,'")
end

---The keys of a table in order.
---@param set table<string, any>
---@return string[]
function checking.sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

---@param list any[]
---@return boolean
function checking.contains(list, value)
  for _, item in ipairs(list) do
    if item == value then return true end
  end
  return false
end

---The names that match a pattern in a text.
---@param text string
---@param pattern string  with one capture
---@return table<string, true>
function checking.names(text, pattern)
  local found = {}
  for name in text:gmatch(pattern) do found[name] = true end
  return found
end

---Calls found(link, circle) for each link that closes a circle of files or modules.
---@param names string[]                   in the order in which they are visited
---@param links table<string, { name: string, line: integer }[]>  what each of them refers to
---@param found fun(name: string, link: { name: string, line: integer }, circle: string)
function checking.circles(names, links, found)
  local state, trail = {}, {}
  local function visit(name)
    state[name] = "open"
    trail[#trail + 1] = name
    for _, link in ipairs(links[name]) do
      if state[link.name] == "open" then
        found(name, link, table.concat(trail, " -> ") .. " -> " .. link.name)
      elseif links[link.name] and not state[link.name] then
        visit(link.name)
      end
    end
    trail[#trail] = nil
    state[name] = "done"
  end
  for _, name in ipairs(names) do
    if not state[name] then visit(name) end
  end
end

return checking
