-- docs_spec.lua -- the documentation's links, headings and contents lists lead to their targets.
-- docs_numbers_spec.lua and docs_lists_spec.lua compare numbers and lists with the code.

local uv = require "luv"
local sources = require "support.sources"

local function read(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

local pages = { "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md" }
local scan = assert(uv.fs_scandir("docs"), "run from the top folder of the source")
for name in function() return uv.fs_scandir_next(scan) end do
  if name:find("%.md$") then pages[#pages + 1] = "docs/" .. name end
end
table.sort(pages)

-- A page without its blocks of code, and its headings: { level, text }.
local function prose_of(text)
  local lines, headings, in_code = {}, {}, false
  for line in (text .. "\n"):gmatch("(.-)\n") do
    if line:find("^```") then in_code = not in_code end
    if not in_code then
      lines[#lines + 1] = line
      local marks, heading = line:match("^(#+) (.+)$")
      if marks then headings[#headings + 1] = { level = #marks, text = heading } end
    end
  end
  return table.concat(lines, "\n"), headings
end

-- The name by which a heading can be linked to, as GitHub makes it.
local function anchor_of(heading)
  return (heading:lower():gsub("`", ""):gsub("[^%w%s_-]", ""):gsub(" ", "-"))
end

local function has_anchor(text, anchor)
  local _, headings = prose_of(text)
  for _, heading in ipairs(headings) do
    if anchor_of(heading.text) == anchor then return true end
  end
  return false
end

describe("the documentation", function()
  for _, page in ipairs(pages) do
    it("leads somewhere from " .. page, function()
      local folder = page:match("^(.*/)") or ""
      local own = read(page)
      for target in prose_of(own):gsub("`[^`\n]*`", ""):gmatch("%]%(([^%s()]+)%)") do
        local path, anchor = target:match("^([^#]*)#?(.*)$")
        if not path:find("^%a+:") then
          local text = path == "" and own or read(folder .. path)
          local is_folder = path ~= "" and (uv.fs_stat(folder .. path) or {}).type == "directory"
          assert.is_truthy(text or is_folder, ("%s: there is no %s"):format(page, target))
          if anchor ~= "" then
            assert.is_true(has_anchor(text, anchor),
              ("%s: there is no heading for %s"):format(page, target))
          end
        end
      end
    end)
  end

  it("is found from the README, every page of it", function()
    local readme = read("README.md")
    for _, path in ipairs({ "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md" }) do
      assert.is_truthy(readme:find("(" .. path .. ")", 1, true), path)
    end
    for _, folder in ipairs({ "docs", "docs/decisions" }) do
      local files = assert(uv.fs_scandir(folder))
      for name in function() return uv.fs_scandir_next(files) end do
        local path = folder .. "/" .. name
        if name:find("%.md$") then
          assert.is_truthy(readme:find("(" .. path .. ")", 1, true), path)
        end
      end
    end
  end)

  -- Long pages begin with a list of their parts, in their order.
  for _, name in ipairs({ "scripting", "recipes", "browsers", "operating", "proxies" }) do
    local page = "docs/" .. name .. ".md"
    it("has a contents list in " .. page, function()
      local prose, headings = prose_of(read(page))
      local listed, parts = {}, {}
      local list = prose:match("\n\n(%* .-)\n\n")
      for text, anchor in (list or ""):gmatch("%[([^%]]+)%]%(#([^)]+)%)") do
        listed[#listed + 1] = anchor
        assert.is_truthy(text)
      end
      for _, heading in ipairs(headings) do
        if heading.level == 2 then parts[#parts + 1] = anchor_of(heading.text) end
      end
      assert.same(parts, listed)
    end)
  end

  it("names the options of the command line, as --help does", function()
    local function options_of(text)
      local found = {}
      for option in text:gmatch("%-%-%l[%l-]+") do found[option] = true end
      return found
    end
    local help = options_of(sources.text("help.lua"))
    local documented = options_of(read("docs/operating.md"))
    for option in pairs(help) do
      assert.is_true(documented[option], "docs/operating.md has no " .. option)
    end
    for row in read("docs/operating.md"):gmatch("\n| (`%-%-[^|]*) |") do
      for option in pairs(options_of(row)) do
        assert.is_true(help[option], "--help has no " .. option)
      end
    end
  end)
end)
