-- luarocks_spec.lua -- rocks that LuaRocks has installed into the app's own tree, lua_modules, by
-- the command of docs/configuration.md. The test makes the rocks itself, from local files.

local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

-- A rock in Lua, with a folder, which needs another rock; and one in C.
local ROCKS = {
  greeting = {
    build = [[modules = { greeting = "greeting.lua", ["greeting.deep"] = "deep/init.lua" }]],
    files = {
      ["greeting.lua"] = [[
        local words = require "words"
        return { hello = function(name) return words.hello .. " " .. name end, version = "%s" }
      ]],
      ["deep/init.lua"] = [[return "deep"]],
    },
  },
  words = {
    build = [[modules = { words = "words.lua" }]],
    files = { ["words.lua"] = [[return { hello = "hello" }]] },
  },
  twice = {
    build = [[modules = { twice = { "twice.c" } }]],
    files = {
      ["twice.c"] = [[
        #include <lauxlib.h>
        static int twice(lua_State *L) {
            lua_pushinteger(L, 2 * luaL_checkinteger(L, 1));
            return 1;
        }
        __attribute__((visibility("default"))) int luaopen_twice(lua_State *L) {
            lua_pushcfunction(L, twice);
            return 1;
        }
      ]],
    },
  },
}

local APP = [[
local here = require "here"
local greeting = require "greeting"
local deep = require "greeting.deep"
local found, twice = pcall(require, "twice")
return {
  endpoints = { ["/"] = { validate = here.validate, handle_message = function(conn, name)
    conn:send(greeting.hello(name) .. " " .. deep .. " " .. greeting.version .. " "
      .. (found and twice(21) or "no C"))
  end } },
}
]]

--- Installs a rock into the app's tree, as the docs say; a file of the rock may name its version.
local function install(app_folder, name, version)
  local rock = ROCKS[name]
  local folder <close> = setmetatable({ path = process.make_directory() }, {
    __close = function(self) process.remove_directory(self.path) end,
  })
  os.execute(("mkdir -p '%s/deep'"):format(folder.path))
  for file, text in pairs(rock.files) do
    process.write_file(folder.path .. "/" .. file, (text:gsub("%%s", version)))
  end
  local rockspec = ("%s/%s-%s-1.rockspec"):format(folder.path, name, version)
  process.write_file(rockspec, ([[
    package, version = "%s", "%s-1"
    source = { url = "file://%s" }
    build = { type = "builtin", %s }
  ]]):format(name, version, folder.path, rock.build))
  local result = process.run("/bin/sh", {
    args = {
      "-c", 'cd "$1" && luarocks --lua-version 5.4 make --tree "$2/lua_modules" "$3"', "sh",
      folder.path, app_folder, rockspec,
    },
    environment = { HOME = folder.path },
  })
  assert(result.code == 0, result.stdout .. result.stderr)
end

describe("LuaRocks", function()
  if not process.find("luarocks") then
    it("installs into the app's own tree", function() pending("luarocks is not installed") end)
    return
  end
  local has_compiler = process.find("gcc") ~= nil
  local app

  lazy_setup(function()
    app = server.start({
      app = APP, options = { "--watch" },
      prepare = function(folder)
        for _, name in ipairs { "greeting", "words", has_compiler and "twice" or nil } do
          install(folder, name, "1.0")
        end
      end,
    })
  end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  it("installs rocks in Lua and in C into the app's own tree, where scripts find them", function()
    local expected = "hello Ada deep 1.0 " .. (has_compiler and "42" or "no C")
    for worker = 0, app.workers - 1 do
      assert.equal(expected, (app:connect_on(worker):ask("Ada")))
    end
  end)

  it("replaces a rock for the next process: rocks are loaded once, and not watched", function()
    install(app.directory, "greeting", "2.0")
    process.write_file(app.directory .. "/app.lua", APP .. "-- saved")
    assert.is_truthy(app:wait_for_log("event=reloaded .*generation=2 "))
    assert.matches("deep 1.0", (app:connect_on(0):ask("Ada")))
    assert.equal(1, #app:log_lines("event=reloaded"))
  end)
end)
