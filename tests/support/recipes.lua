-- recipes.lua -- the recipes of docs/recipes.md: their headings, and the files in their blocks.
--
-- recipes_spec.lua runs the recipes, and recipes_outside_spec.lua those of OUTSIDE, which use other
-- servers and libraries. Both read them from the page.

local server = require "support.server"

local recipes = {
  --- Headings of recipes that use the world outside, in the page's order.
  OUTSIDE = {
    "What waits, and what needs a pool", "Redis", "PostgreSQL", "SQLite", "MySQL", "Send mail",
    "MQTT", "An HTTP API with paging", "Run a process", "Libraries from LuaRocks",
  },
}

local is_outside = {}
for _, heading in ipairs(recipes.OUTSIDE) do is_outside[heading] = true end

--- All headings, and the files of each: name -> text.
---@type table<integer|string, string|table<string, string>>
local page = {}

local heading, block, name
for line in io.lines("docs/recipes.md") do
  if block then
    if line == "```" then
      page[heading][name], block = table.concat(block, "\n") .. "\n", nil
    else
      block[#block + 1] = line
      name = name or assert(line:match("^[-/#]+ ([%w._/-]+)"),
        "a block without the name of its file: " .. line)
    end
  elseif line:find("^## ") then
    heading = line:sub(4)
    page[heading] = {}
    page[#page + 1] = heading
  elseif line:find("^```") then
    block, name = {}, nil
  end
end

local tried = {}

--- The files of a recipe, as a table of the caller's. The recipe counts as tried.
---@param of string its heading
---@return table<string, string>
function recipes.files(of)
  tried[of] = true
  local files = {}
  for file, text in pairs(assert(page[of], "there is no recipe " .. of)) do files[file] = text end
  return files
end

--- Starts the app of a recipe with its other files.
---@param of string its heading
---@param more table<string, string>|nil files of the test
---@param environment table<string, string>|nil
---@param workers integer|nil as for server.start
---@return support.server
function recipes.start(of, more, environment, workers)
  local files = recipes.files(of)
  for file, text in pairs(more or {}) do files[file] = text end
  return server.start({ files = files, environment = environment, workers = workers })
end

--- The headings of this kind that no test has used.
---@param outside boolean those of OUTSIDE, or the others
---@return string[]
function recipes.untried(outside)
  local left = {}
  for _, each in ipairs(page) do
    if (is_outside[each] or false) == outside and not tried[each] then left[#left + 1] = each end
  end
  return left
end

return recipes
