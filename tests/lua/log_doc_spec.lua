-- log_doc_spec.lua -- docs/operating.md names the events that the program logs, and no others.

local uv = require "luv"

local function read(path)
  local file <close> = assert(io.open(path, "r"), "run from the top folder of the source")
  return file:read("a")
end

-- Calls visit(text) for each file of a folder, its own folders included, whose name ends so.
local function each_file(folder, ending, visit)
  local scan = assert(uv.fs_scandir(folder))
  for name, kind in function() return uv.fs_scandir_next(scan) end do
    local path = folder .. "/" .. name
    if kind == "directory" then
      each_file(path, ending, visit)
    elseif name:sub(-#ending) == ending then
      visit(read(path))
    end
  end
end

-- The events that the source logs, and all words in quotes that it has: some events are chosen from
-- several. In C they are the first plain word in quotes of a call of log_begin() and its kin.
local function logged_events()
  local found, words = {}, {}
  each_file("src", ".c", function(text)
    for word in text:gmatch('"([%l_]+)"') do words[word] = true end
    for _, call in ipairs({
      "log_begin", "log_begin_limited", "log_event", "log_eventf", "log_connections", "begin",
    }) do
      for arguments in text:gmatch("%f[%w_]" .. call .. "(%b())") do
        local event = arguments:match('^%([^"]*"([%l_]+)"')
        if event then found[event] = true end
      end
    end
  end)
  each_file("lua/tidewire", ".lua", function(text)
    for word in text:gmatch('"([%l_]+)"') do words[word] = true end
    for event in text:gmatch('%f[%w_]%l+%.log%(%s*[^,]+,%s*"([%l_]+)"') do found[event] = true end
  end)
  return found, words
end

local function documented_events()
  local found = {}
  local part = read("docs/operating.md"):match("\n## The log\n(.-)\n## ")
  for cell in part:gmatch("\n| ([^|]*) | %l") do
    for event in cell:gmatch("`([%l_]+)`") do found[event] = true end
  end
  return found
end

local function missing_in(some, others)
  local list = {}
  for name in pairs(some) do
    if not others[name] then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

describe("docs/operating.md", function()
  local logged, words = logged_events()
  local documented = documented_events()

  it("names every event of the log", function() assert.same({}, missing_in(logged, documented)) end)
  it("names no event that there is not", function()
    assert.same({}, missing_in(documented, words))
  end)
end)
