-- reload_command_spec.lua -- `tidewire reload` makes a running server load its code again, and
-- prints the result.

local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local part = require "part"
return { handle_message = function(conn) conn:send(part) end }
]]

describe("tidewire reload", function()
  local app, pid_file

  before_each(function()
    app = server.start({
      app = APP,
      files = { ["part.lua"] = "return 'first'" },
      options = { "--pid-file", "pid", "--log-level", "debug" },
    })
    pid_file = app.directory .. "/pid"
  end)

  after_each(function()
    stream.close_all()
    app:stop()
  end)

  local function say(text) process.write_file(app.directory .. "/part.lua", text) end
  local function reload() return server.run({ "reload", "--pid-file", pid_file }) end

  it("waits until the new code runs, and says which", function()
    say("require('tidewire').sleep(0.2) return 'second'")
    local result = reload()
    assert.equal(0, result.code, result.stderr)
    assert.equal("reloaded: generation 2 runs\n", result.stdout)
    assert.equal("second", (app:connect():ask("?")))
    say("return 'third'")
    assert.equal("reloaded: generation 3 runs\n", reload().stdout)
    assert.equal("third", (app:connect():ask("?")))
  end)

  it("prints the problem with file, line and traceback, and exits with 1", function()
    say("local x\nerror('not today')")
    local result = reload()
    assert.equal(1, result.code)
    assert.matches("part.lua:2: not today\nstack traceback:", result.stderr)
    assert.matches("nothing was changed\n$", result.stderr)
    assert.equal("first", (app:connect():ask("?")))
  end)

  it("reports that the server ends instead", function()
    say("require('tidewire').sleep(3600)")
    local asking = process.start(server.binary(), {
      args = { "reload", "--pid-file", pid_file }, stderr = app.directory .. "/said",
    })
    assert.is_truthy(app:wait_for_log("event=reloading"))
    app:stop()
    assert.equal(1, asking:wait_exit())
  end)

  it("says when there is no server", function()
    local result = server.run({ "reload", "--pid-file", app.directory .. "/missing" })
    assert.equal(1, result.code)
    assert.matches("no server answers at .*/missing.sock", result.stderr)
  end)

  it("wants the pid file, and nothing else", function()
    for _, args in ipairs { { "reload" }, { "reload", "app.lua", "--pid-file", pid_file } } do
      local result = server.run(args)
      assert.equal(2, result.code)
      assert.matches("tidewire reload %-%-pid%-file FILE", result.stderr)
    end
  end)
end)
