-- watch_spec.lua -- `--watch`: the server loads a saved script again, however the editor saves.

local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local part = require "part"
return { handle_message = function(conn) conn:send(part) end }
]]

local app

--- Writes a module that returns this, as most editors do.
local function save(name, text)
  process.write_file(app.directory .. "/" .. name, ("return %q\n"):format(text))
end

local function wait_for(generation)
  assert.is_truthy(app:wait_for_log(("event=reloaded .*generation=%d "):format(generation)))
end

describe("--watch", function()
  local ada

  before_each(function()
    app = server.start({
      app = APP, files = { ["part.lua"] = "return 'first'" }, options = { "--watch" },
    })
    ada = app:connect()
    assert.equal("first", (ada:ask("?")))
  end)

  after_each(function()
    stream.close_all()
    app:stop()
  end)

  it("loads what was written over", function()
    save("part.lua", "second")
    wait_for(2)
    assert.equal("second", (ada:ask("?")))
  end)

  it("loads what was renamed over the old file", function()
    save("part.lua.new", "second")
    assert(os.rename(app.directory .. "/part.lua.new", app.directory .. "/part.lua"))
    wait_for(2)
    assert.equal("second", (ada:ask("?")))
  end)

  it("loads a file that was deleted and made again", function()
    os.remove(app.directory .. "/part.lua")
    save("part.lua", "second")
    wait_for(2)
    assert.equal("second", (ada:ask("?")))
  end)

  it("takes a burst of saves for one", function()
    for index = 1, 200 do -- each is whole at any moment, as a reload may come between any two
      save("part.lua.new", "number " .. index)
      assert(os.rename(app.directory .. "/part.lua.new", app.directory .. "/part.lua"))
    end
    assert.equal("number 200", loop.ask_until(function() return (ada:ask("?")) end, "number 200"))
    -- one, where nothing holds us up between two saves
    assert.is_true(#app:log_lines("event=reloaded") < 100, "each save was a reload")
  end)

  it("goes on with the old code while a script is broken, and sees when it is mended", function()
    process.write_file(app.directory .. "/part.lua", "return = 1")
    assert.is_truthy(app:wait_for_log("event=reload_failed .*part.lua:1:"))
    assert.equal("first", (ada:ask("?")))
    save("part.lua", "mended")
    wait_for(2)
    assert.equal("mended", (ada:ask("?")))
  end)

  it("watches folders that new code has come from, whether it was loaded or not", function()
    os.execute(("mkdir -p '%s/inner'"):format(app.directory))
    process.write_file(app.directory .. "/inner/new.lua", "this is no Lua")
    process.write_file(app.directory .. "/part.lua", "return require 'inner.new'")
    assert.is_truthy(app:wait_for_log("event=reload_failed .*inner/new.lua:1:"))
    save("inner/new.lua", "from within")
    wait_for(2)
    assert.equal("from within", (ada:ask("?")))
    save("inner/new.lua", "again")
    wait_for(3)
    assert.equal("again", (ada:ask("?")))
  end)

  it("does not mind other files", function()
    process.write_file(app.directory .. "/notes.txt", "hello")
    process.write_file(app.directory .. "/.part.lua.swp", "hello")
    save("part.lua", "second")
    wait_for(2)
    assert.equal(1, #app:log_lines("event=saved"))
  end)
end)
