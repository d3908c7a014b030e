-- recipes_spec.lua -- the code of docs/recipes.md does what the page says. It is taken from there, block by block.

local server = require "support.server"
local stream = require "support.stream"

-- The page's headings in their order, and the files of each: name -> text.
local function read_recipes()
  local recipes, heading, block, name = {}, nil, nil, nil
  for line in io.lines("docs/recipes.md") do
    if block then
      if line == "```" then
        recipes[heading][name], block = table.concat(block, "\n") .. "\n", nil
      else
        block[#block + 1] = line
        name = name or assert(line:match("^[-/#]+ ([%w._/-]+)"), "a block without the name of its file: " .. line)
      end
    elseif line:find("^## ") then
      heading = line:sub(4)
      recipes[heading] = {}
      recipes[#recipes + 1] = heading
    elseif line:find("^```") then
      block, name = {}, nil
    end
  end
  return recipes
end

describe("docs/recipes.md", function()
  local recipes = read_recipes()
  local tried = {}

  after_each(stream.close_all)

  -- Starts the app of a recipe with its other files, and what the test adds to them.
  local function start(heading, more)
    local files = {}
    for name, text in pairs(assert(recipes[heading], "there is no recipe " .. heading)) do files[name] = text end
    for name, text in pairs(more or {}) do files[name] = text end
    tried[heading] = true
    return server.start({ files = files, options = more and more.options })
  end

  it("a page that reloads itself", function()
    local app <close> = start("A page that reloads itself", { ["public/index.html"] = "hello" })
    assert.equal(200, app:http("/live.js").status)
    local page = app:connect("/live")
    assert.equal("1", (page:receive()))
    app:signal("sighup")
    assert.equal("2", (page:receive()))
  end)

  it("has a test for each of its recipes, and nothing that cannot be loaded", function()
    for _, heading in ipairs(recipes) do
      for name, text in pairs(recipes[heading]) do
        if name:find("%.lua$") then assert(load(text, "@" .. name, "t")) end
      end
      assert.is_true(tried[heading], "nothing tries the recipe " .. heading)
    end
  end)
end)
