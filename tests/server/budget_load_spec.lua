-- budget_load_spec.lua -- a script that loops while it is loaded ends the start with exit code 2
-- and the line.

local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local ENVIRONMENT = { TIDEWIRE_LIMITS_LOAD_TIMEOUT = "0.1" }
local LONGER = { TIDEWIRE_LIMITS_LOAD_TIMEOUT = "1" }

--- The output of a start, or a check, of this app, which must fail.
local function problem_of(app, files, args)
  local folder = process.make_directory()
  process.write_file(folder .. "/app.lua", app)
  for name, text in pairs(files or {}) do process.write_file(folder .. "/" .. name, text) end
  local result = server.run(args or { "app.lua", "--listen", "127.0.0.1:0" },
    { directory = folder, environment = ENVIRONMENT })
  process.remove_directory(folder)
  assert.equal(2, result.code, result.stderr)
  return result.stderr
end

local SENTENCE = "loading took longer than limits.load_timeout, 0.1 seconds of CPU time\n"

describe("a loop while a script is loaded", function()
  it("at its top level ends the start, with the place and a traceback", function()
    for _, args in ipairs { { "app.lua", "--listen", "127.0.0.1:0" }, { "check", "app.lua" } } do
      local problem = problem_of("\nlocal x = 1\nwhile true do x = x + 1 end\nreturn {}", nil, args)
      assert.matches("app.lua:3: " .. SENTENCE .. "stack traceback:\n\tapp.lua:3: in ",
        problem, 1, true)
      assert.is_nil(problem:find("script_error", 1, true))
    end
  end)

  it("after a sleep ends the start, too, with one message", function()
    local problem = problem_of('require "tidewire".sleep(0.01)\nwhile true do end')
    assert.matches("^app.lua:2: " .. SENTENCE, problem)
    assert.is_nil(problem:find("never comes", 1, true))
  end)

  it("cannot be caught", function()
    for _, text in ipairs {
      "while true do pcall(function() while true do end end) end",
      "while true do xpcall(error, function() while true do end end) end",
      "coroutine.wrap(function() while true do end end)()",
      "table.sort({ 3, 2, 1 }, function() while true do end end)",
      "local _ <close> = setmetatable({}, { __close = function() while true do end end })",
    } do
      assert.matches("app.lua:1: " .. SENTENCE, problem_of(text .. "\nreturn {}"), 1, true)
    end
  end)

  it("in a module ends the start", function()
    local files = { ["lib.lua"] = "local function wait()\n  while true do end\nend\nwait()" }
    for _, text in ipairs {
      'require "lib" return {}', 'pcall(require, "lib") return {}',
      'return { endpoints = { ["/"] = "lib" } }',
    } do
      local problem = problem_of(text, files)
      assert.matches("lib.lua:2: " .. SENTENCE, problem, 1, true)
      assert.matches("lib.lua:4: in ", problem, 1, true)
    end
  end)

  it("in on_load ends the start", function()
    local problem = problem_of('return { endpoints = { ["/"] = {} },\n on_load = function() while '
      .. 'true do end end }')
    assert.matches("app.lua:2: " .. SENTENCE, problem, 1, true)
  end)

  it("in a metatable of the returned app ends the start", function()
    local problem =
      problem_of("return setmetatable({}, { __index = function() while true do end end })")
    assert.matches("app.lua:1: " .. SENTENCE, problem, 1, true)
  end)

  it("in a worker that is not the first ends the start", function()
    local problem = problem_of([[
      if require "tidewire".worker == 1 then while true do end end
      return { workers = 2, endpoints = { ["/"] = {} } }]])
    assert.matches("app.lua:1: " .. SENTENCE, problem, 1, true)
  end)

  it("ends it as the app says, once that is known", function()
    local app = server.launch({
      app = 'return { limits = { load_timeout = 0.2 }, endpoints = { ["/"] = {} },\n'
        .. " on_load = function() while true do end end }",
    })
    assert.equal(2, app.process:wait_exit())
    assert.matches("app.lua:2: loading took longer than limits.load_timeout, 0.2 seconds",
      app:log(), 1, true)
    app:kill()
  end)
end)

describe("a load that may take much longer than a hook", function()
  it("is no script that is stuck when its time is over", function()
    local app = server.launch({
      app = 'return { defaults = { handler_timeout = 0.05 }, limits = { load_timeout = 2.1 },\n'
        .. ' endpoints = { ["/"] = {} }, on_load = function() while true do end end }',
    })
    assert.equal(2, app.process:wait_exit())
    assert.matches("app.lua:2: loading took longer than limits.load_timeout, 2.1 seconds",
      app:log(), 1, true)
    assert.is_nil(app:log():find("script_stuck", 1, true))
    app:kill()
  end)
end)

describe("loading", function()
  after_each(stream.close_all)

  it("may sleep for longer than it may compute", function()
    local app <close> = server.start({ environment = LONGER, app = [[
      local tw = require "tidewire"
      local function burn(seconds)
        local from = os.clock()
        while os.clock() - from < seconds do end
      end
      for _ = 1, 4 do burn(0.3) tw.sleep(0.05) end
      return { handle_message = function(conn, message) conn:send(message) end }]] })
    assert.equal("loaded", (app:connect("/"):ask("loaded")))
  end)

  it("has nothing of the hooks' budget", function()
    local app <close> = server.start({ app = [[
      local function burn(seconds)
        local from = os.clock()
        while os.clock() - from < seconds do end
      end
      burn(0.5)
      return {
        handler_timeout = 0.2, handle_message = function(conn, message) conn:send(message) end,
      }]] })
    assert.equal("loaded", (app:connect("/"):ask("loaded")))
  end)
end)
