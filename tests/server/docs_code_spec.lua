-- docs_code_spec.lua -- the Lua code in the documentation: each block can be loaded, and `tidewire
-- check` accepts each handler and app. recipes_spec.lua runs the blocks of docs/recipes.md.

local process = require "support.process"
local server = require "support.server"
local uv = require "luv"

-- The Lua blocks of a page: { line, text }.
local function blocks_of(path)
  local blocks, block, number = {}, nil, 0
  for line in io.lines(path) do
    number = number + 1
    if line == "```lua" then
      block = { line = number }
    elseif block and line == "```" then
      blocks[#blocks + 1], block =
        { line = block.line, text = table.concat(block, "\n") .. "\n" }, nil
    elseif block then
      block[#block + 1] = line
    end
  end
  return blocks
end

local function pages()
  local found, scan = { "README.md", "lua/templates/README.md" }, assert(uv.fs_scandir("docs"))
  for name in function() return uv.fs_scandir_next(scan) end do
    if name:find("%.md$") then found[#found + 1] = "docs/" .. name end
  end
  table.sort(found)
  return found
end

describe("the Lua code in", function()
  for _, page in ipairs(pages()) do
    local blocks = blocks_of(page)
    if #blocks > 0 then
      it(page .. " can be loaded, and is an app where it returns one", function()
        local top = process.make_directory()
        local folder = top .. "/app"
        -- What blocks talk of: modules of handlers, folders for browsers and for certbot, a module
        -- of the page's own.
        assert(os.execute(("cd '%s' && mkdir -p app/handlers app/public"
          .. " webroot/.well-known/acme-challenge && touch app/cert.pem"):format(top)))
        for _, name in ipairs({ "chat", "game" }) do
          process.write_file(("%s/handlers/%s.lua"):format(folder, name),
            "return { on_start = function() end }\n")
        end
        for _, name in ipairs({ "redis_client", "pages" }) do
          process.write_file(("%s/%s.lua"):format(folder, name), "return function() end\n")
        end
        for _, name in ipairs({ "database", "db" }) do -- of pools
          process.write_file(("%s/%s.lua"):format(folder, name), "return {}\n")
        end
        process.write_file(folder .. "/mqtt.lua", -- of LuaRocks
          "return { client = function() return { on = function() end } end }\n")
        for _, block in ipairs(blocks) do
          local place = ("%s:%d"):format(page, block.line)
          assert(load(block.text, "@" .. place, "t"))
          if ("\n" .. block.text):find("\nreturn {\n") then
            process.write_file(folder .. "/app.lua", block.text)
            local result = process.run(server.binary(), {
              args = { "check", "app.lua" }, directory = folder,
              environment = { ADMIN_TOKEN = "secret", SESSION_KEY = ("0123456789abcdef"):rep(4) },
            })
            assert.equal(0, result.code, place .. ": " .. result.stderr)
          end
        end
        process.remove_directory(top)
      end)
    end
  end
end)
