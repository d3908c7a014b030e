-- snapshot.lua -- the state of files at one moment, to find out later which have changed.
--
-- Has the scripts that an app was loaded from, the files that it looked for and did not find, and
-- all other scripts in the same directories. Reads each by its name, through symbolic links. Knows
-- not when to look.
--
-- A file has changed when its inode, its size or its modification time has. This finds a save in
-- place, a file that was renamed over it, and a link or a directory in its path that leads
-- elsewhere. The time of the last status change (ctime) does not count: a second hard link, which
-- some editors make, changes it.

local uv = require "luv"

local snapshot = {}

--- The state of a file of which it is not known whether it has changed: it has.
local UNKNOWN <const> = "unknown"

--- Entries of a directory that are read at once.
local ENTRIES <const> = 256

---@class tidewire.Snapshot
---@field states table<string, string|false>  by path; false: there is no such file
---@field modified table<string, number>      Unix time of the files that there are
---@field is_source table<string, true>       not only another script in a directory

local function add(files, path)
  local info = uv.fs_stat(path)
  if not info or info.type ~= "file" then
    files.states[path] = false
    return
  end
  local mtime = info.mtime
  files.states[path] = ("%d:%d %d %d.%09d %s"):format(info.dev, info.ino, info.size, mtime.sec,
    mtime.nsec, uv.fs_access(path, "R"))
  files.modified[path] = mtime.sec + mtime.nsec / 1e9
end

--- Not hidden files, nor those that editors put beside a file.
local function is_script(name)
  return name:find("^[^.#~].*%.lua$") ~= nil
end

--- The names in a directory; none if it cannot be read. Not by fs_scandir, whose requests luv 1.44
--- never frees.
local function names_of(folder)
  local names = {}
  local directory = uv.fs_opendir(folder, nil, ENTRIES)
  local entries = directory and uv.fs_readdir(directory)
  while entries do
    for _, entry in ipairs(entries) do names[#names + 1] = entry.name end
    entries = uv.fs_readdir(directory)
  end
  if directory then uv.fs_closedir(directory) end
  return names
end

--- Has these files, one a line, whether they exist or not, and the files that end in ".lua" in
--- their directories.
---@param sources string
---@return tidewire.Snapshot
function snapshot.take(sources)
  local files, folders = { states = {}, modified = {}, is_source = {} }, {}
  for path in sources:gmatch("[^\n]+") do
    files.is_source[path] = true
    folders[path:match("^.*/") or ""] = true
    add(files, path)
  end
  for folder in pairs(folders) do
    for _, name in ipairs(names_of(folder == "" and "." or folder)) do
      if is_script(name) and not files.is_source[folder .. name] then
        add(files, folder .. name)
      end
    end
  end
  return files
end

--- For a snapshot of other files than the one before. A file that both have keeps its old state. A
--- file that only `files` has will count as changed if it was modified since that time.
---@param files tidewire.Snapshot
---@param old tidewire.Snapshot|nil
---@param since number  Unix time
function snapshot.carry_over(files, old, since)
  for path in pairs(files.states) do
    if old and old.states[path] ~= nil then
      files.states[path] = old.states[path]
    elseif files.states[path] and files.modified[path] >= since then
      files.states[path] = UNKNOWN
    end
  end
end

--- The files that have changed: those that exist, and did not exist before or had another state;
--- and the sources that are gone. Both by path.
---@param old tidewire.Snapshot
---@param newer tidewire.Snapshot
---@return string[] changed
---@return string[] gone
function snapshot.compare(old, newer)
  local changed, gone = {}, {}
  for path, state in pairs(newer.states) do
    local before = old.states[path] or false
    if state ~= before or state == UNKNOWN then
      if state then
        changed[#changed + 1] = path
      elseif newer.is_source[path] then
        gone[#gone + 1] = path
      end
    end
  end
  table.sort(changed)
  table.sort(gone)
  return changed, gone
end

return snapshot
