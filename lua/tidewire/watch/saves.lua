-- saves.lua -- for --watch: were scripts saved, and is the change complete?
--
-- script/vm/saves.c calls these functions, in a Lua state of the main thread, which runs no script.
-- A change counts when the files have not changed further for a moment, since editors and `git
-- checkout` make several changes in a row. Files that are gone get more time: a build or a slow
-- disk brings them back.

local snapshot = require "tidewire.watch.snapshot"

local Saves = {}
Saves.__index = Saves

-- A change that goes on for so long is taken for complete.
local UNSETTLED_MS <const> = 5000

-- Files that are gone may come back within this time.
local GONE_MS <const> = 2000

---@param since number  when the app began to load, in Unix time
function Saves.new(since)
  return setmetatable({ since = since }, Saves)
end

--- The files are as they were loaded.
local function set_unchanged(self)
  self.seen, self.changing_since, self.gone_since = nil, nil, nil
end

--- A load has ended, or has failed: these are the scripts that it asked for, one a line.
function Saves:set_sources(sources)
  local now = snapshot.take(sources)
  snapshot.carry_over(now, self.loaded, self.since)
  self.loaded, self.sources = now, sources
end

--- A load begins at this moment: saves before it request no further reload.
function Saves:before_load(since)
  self.since, self.loaded = since, snapshot.take(self.sources)
  set_unchanged(self)
end

--- Has nothing changed since the last look, or has it changed for too long?
local function is_settled(self, files, now)
  self.changing_since = self.changing_since or now
  local further = { "" }
  if self.seen then
    local changed, gone = snapshot.compare(self.seen, files)
    further = changed[1] and changed or gone
  end
  return further[1] == nil or now - self.changing_since >= UNSETTLED_MS
end

--- Is a source missing that may come back?
local function may_come_back(self, gone, now)
  if not gone[1] then
    self.gone_since = nil
    return false
  end
  self.gone_since = self.gone_since or now
  return now - self.gone_since < GONE_MS
end

--- Compares the files with the loaded ones.
---@param now integer  milliseconds of any clock
---@return boolean is_changing  they have changed, and must settle first
---@return string|nil file      the change is complete: its first file
---@return integer|nil others   how many others have changed
function Saves:look(now)
  local files = snapshot.take(self.sources)
  local changed, gone = snapshot.compare(self.loaded, files)
  local file = changed[1] or gone[1]
  if not file then
    set_unchanged(self)
    return false
  end
  if is_settled(self, files, now) and not may_come_back(self, gone, now) then
    self.loaded = files
    set_unchanged(self)
    return false, file, #changed + #gone - 1
  end
  self.seen = files
  return true
end

return Saves
