-- Checks the #include lines of src/ against the tables of scripts/layers.lua: a part includes only
-- parts of lower layers, a folder only those that are named for it, a private header is included by
-- its own folder alone, each foreign library is used in one place, and no files include each other.
--
--   lua5.4 scripts/check_layers.lua [TOP]        TOP: the folder that holds src/ (default: .)
--
-- Reads text and runs no compiler. Knows nothing of what the code does.

package.path = arg[0]:match "^.*/" .. "?.lua;" .. package.path
local checking = require "checking"
local layers = require "layers"

local function problem(file, line, text, ...)
  checking.problem(("src/%s:%d"):format(file, line), text, ...)
end

---A file's lines without comments and without the contents of strings, but for #include's own.
local function code_lines(path)
  local text = checking.read("src/" .. path)
  text = text:gsub("/%*.-%*/", function(comment) return (comment:gsub("[^\n]", " ")) end)
  local lines = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do
    if not line:find "^%s*#%s*include" then
      line = line:gsub('"[^"]*"', '""')
    end
    lines[#lines + 1] = line:gsub("//.*", "")
  end
  return lines
end

local function part_of(path)
  return path:match "^([%w_]+)/" or path:match "^(main)%.c$" or "?"
end

---The folder of a part that a file is in; "." is the part's own.
local function folder_of(path)
  return path:match "^[%w_]+/(.+)/" or "."
end

---Is the file one of these places, or in one of them?
local function is_in(path, places)
  for _, place in ipairs(places) do
    if path == place or path:sub(1, #place + 1) == place .. "/" then return true end
  end
  return false
end

local function list_text(list)
  return #list > 0 and table.concat(list, ", ") or "itself"
end

local files, exists = {}, {}
for _, path in ipairs(checking.list("src", "*.[ch]")) do
  files[#files + 1] = path:sub(5)
  exists[path:sub(5)] = true
end

---file -> { { name, line }, ... }: what it includes of src/
local own_includes = {}

local function check_own(path, part, name, number)
  if name == "tidewire_version.h" then return end
  if not exists[name] then
    local beside = path:match "^(.*/)" .. name
    problem(path, number, '#include "%s": no such file in src/%s', name,
      exists[beside] and ('; write "%s"'):format(beside) or "")
    return
  end
  table.insert(own_includes[path], { name = name, line = number })
  local other = part_of(name)
  if layers.private[name] and name:match "^(.*)/" ~= path:match "^(.*)/" then
    problem(path, number, '#include "%s": private to src/%s', name, name:match "^(.*)/")
  end
  if other ~= part then
    if not checking.contains(layers.parts[part], other) then
      problem(path, number, '#include "%s": %s may not include %s, only %s', name, part, other,
        list_text(layers.parts[part]))
    end
    return
  end
  local folder, other_folder = folder_of(path), folder_of(name)
  local allowed = layers.folders[part][folder]
  if folder ~= other_folder and not checking.contains(allowed, other_folder) then
    problem(path, number, '#include "%s": %s/%s may not include %s/%s, only %s', name, part, folder,
      part, other_folder, list_text(allowed))
  end
end

local function check_foreign(path, part, name, number)
  for _, library in ipairs(layers.foreign) do
    for _, pattern in ipairs(library.headers) do
      if name:find(pattern) and not is_in(path, library.places) then
        problem(path, number, "#include <%s>: %s only in src/%s", name, library.what,
          table.concat(library.places, ", src/"))
      end
    end
  end
  if part == "core" and name == "uv.h" and layers.without_loop[path:match "([%w_]+)%.[ch]$"] then
    problem(path, number, "#include <uv.h>: this file is tested without a loop")
  end
end

local function check_words(path, line, number)
  for _, library in ipairs(layers.foreign) do
    for _, word in ipairs(library.words or {}) do
      local found = line:match("%f[%w_](" .. word .. ")%f[^%w_]")
      if found and not is_in(path, library.places) then
        problem(path, number, "%s: %s only in src/%s", found, library.what,
          table.concat(library.places, ", src/"))
      end
    end
  end
end

for _, path in ipairs(files) do
  local part = part_of(path)
  own_includes[path] = {}
  if not layers.parts[part] then
    problem(path, 1, "scripts/layers.lua does not name the part '%s'", part)
  elseif not layers.folders[part][folder_of(path)] then
    problem(path, 1, "scripts/layers.lua does not name the folder '%s/%s'", part, folder_of(path))
  else
    for number, line in ipairs(code_lines(path)) do
      local own = line:match '^%s*#%s*include%s*"([^"]+)"'
      local library = line:match "^%s*#%s*include%s*<([^>]+)>"
      if own then
        check_own(path, part, own, number)
      elseif library then
        check_foreign(path, part, library, number)
      else
        check_words(path, line, number)
      end
    end
  end
end

checking.circles(files, own_includes, function(path, include, circle)
  problem(path, include.line, '#include "%s" closes a circle: %s', include.name, circle)
end)

checking.finish()
