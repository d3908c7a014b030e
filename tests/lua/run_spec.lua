-- run_spec.lua -- tw.run: invalid arguments, defaults, the environment, places and waiting.
-- tests/server/run_spec.lua runs real programs.

local fake_core = require "support.fake_core"

local HERE = debug.getinfo(1, "S").short_src:gsub("%p", "%%%0")

local world, run
local begun, ended, results -- what C was asked for; which children it forgot; what came of each

before_each(function()
  world = fake_core:install()
  world.environ = { HOME = "/root", PATH = "/bin" }
  begun, ended, results = {}, {}, {}
  function world.core.child_start(task, arguments, environment, cwd, input, max_output, seconds,
      takes_stdout, takes_stderr)
    table.sort(environment)
    table.insert(begun, {
      task = task, arguments = arguments, environment = environment, cwd = cwd, input = input,
      max_output = max_output, seconds = seconds, takes_stdout = takes_stdout,
      takes_stderr = takes_stderr,
    })
    return #begun
  end
  function world.core.child_take() return "" end
  function world.core.child_wait() end
  function world.core.child_result(child)
    if results[child] then return table.unpack(results[child], 1, 4) end
  end
  function world.core.child_end(child) table.insert(ended, child) end
  run = require "tidewire.run"
end)

after_each(function() world:uninstall() end)

--- Calls tw.run in a hook of its own, and returns what C was given.
local function asked(order)
  local task = world:run(function() return run.run(order) end)
  assert(task.state == "waits", tostring((world.failures[1] or {}).value))
  return begun[#begun]
end

--- The message with which it throws, which must name the line that asked.
local function misuse(...)
  local arguments, line = table.pack(...), nil
  local task = world:run(function()
    line = debug.getinfo(1, "l").currentline + 1
    run.run(table.unpack(arguments, 1, arguments.n))
  end)
  assert(task.state == "failed", "it was accepted")
  assert.equal(0, #begun)
  local at, text =
    world.failures[#world.failures].value:match("^" .. HERE .. ":(%d+): tw%.run: (.*)$")
  assert(at, "the error is not told at its caller: " .. world.failures[#world.failures].value)
  assert.equal(line, tonumber(at))
  return text
end

describe("a program", function()
  it("has defaults", function()
    local got = asked { "ls", "-l", 5 }
    assert.same({
      task = got.task, arguments = { "ls", "-l", "5" },
      environment = { "HOME=/root", "PATH=/bin" }, max_output = 1 << 20, seconds = 30,
      takes_stdout = false, takes_stderr = false,
    }, got)
  end)

  it("has what the script says, and leaves the script's table as it is", function()
    local order = {
      "ls", 1, stdin = "a\0b", cwd = "/tmp", env = { A = 1, HOME = false }, timeout = 0.5,
      max_output = "2K", on_stderr = function() end,
    }
    local got = asked(order)
    assert.same({ "a\0b", "/tmp", 2048, 0.5, false, true },
      { got.input, got.cwd, got.max_output, got.seconds, got.takes_stdout, got.takes_stderr })
    assert.same({ "A=1", "PATH=/bin" }, got.environment)
    assert.equal(1, order[2])
    assert.same({}, asked({ "ls", clear_env = true }).environment)
  end)

  it("cannot be called as a shell's line is", function()
    assert.equal('a table is needed, got a string: write tw.run{ "ls", "-l" }; a line for a shell '
      .. 'is tw.run{ "sh", "-c", "ls -l" }', misuse("ls -l"))
    assert.equal('a table is needed, got a string: write tw.run{ "ls", "-l" }; a line for a shell '
      .. 'is tw.run{ "sh", "-c", "ls -l" }', misuse("ls", "-l"))
    assert.equal("a single table is needed: its arguments and options stand in the table",
      misuse({ "ls" }, { timeout = 1 }))
    assert.equal('a table is needed, got nil: tw.run{ "ls", "-l" }', misuse())
    assert.equal('call it with a dot, tw.run{ "ls", "-l" }', misuse(require "tidewire", { "ls" }))
  end)

  it("must have arguments that are texts", function()
    assert.equal('the program is missing: tw.run{ "ls", "-l" }', misuse { timeout = 5 })
    assert.equal("the arguments must be a list without holes", misuse { "ls", nil, "-l" })
    assert.equal("the arguments must be a list without holes", misuse { [2] = "ls" })
    assert.equal("[2] must be a string or a number, got table", misuse { "ls", {} })
    assert.equal('[2] "a?b": it has a zero byte', misuse { "ls", "a\0b" })
    assert.equal("[1] is the program, and it is empty", misuse { "" })
  end)

  it("must have options that there are", function()
    assert.equal('unknown option "input"; did you mean "stdin"?', misuse { "ls", input = "" })
    assert.equal('unknown option "cdw"; did you mean "cwd"?', misuse { "ls", cdw = "/" })
    assert.matches("^timeout: expected a number of seconds, more than 0", misuse { "ls",
      timeout = 0 })
    assert.equal("stdin: expected a string, got 5", misuse { "ls", stdin = 5 })
    assert.matches("^cwd: expected a string without zero bytes", misuse { "ls", cwd = "a\0b" })
    assert.matches("^on_stdout: expected a function", misuse { "ls", on_stdout = "x" })
    assert.equal("env: A must be a string, a number or false, got table",
      misuse { "ls", env = { A = {} } })
    assert.equal('env: string "A=B" is no name of a variable',
      misuse { "ls", env = { ["A=B"] = 1 } })
    assert.equal("env: 1 is no name of a variable", misuse { "ls", env = { "A=B" } })
    assert.equal("env: A has a zero byte", misuse { "ls", env = { A = "a\0b" } })
  end)
end)

describe("the result of a program", function()
  --- What tw.run returns for a result of C's.
  local function result_of(...)
    local got
    local arguments = table.pack(...)
    world:run(function() got = table.pack(run.run { "ls", timeout = 7 }) end)
    results[#begun] = arguments
    world.core.wake(begun[#begun].task)
    world:turn()
    assert.same({ #begun }, { ended[#ended] })
    return table.unpack(got, 1, got.n)
  end

  it("has code and outputs, or the name of a signal", function()
    assert.same({ code = 0, stdout = "a", stderr = "b" }, result_of(0, 0, "a", "b"))
    assert.same({ signal = "SIGKILL", stdout = "", stderr = "" }, result_of(-1, 9, "", ""))
    assert.same({ signal = "SIG40", stdout = "", stderr = "" }, result_of(-1, 40, "", ""))
  end)

  it("is nil and a message that names the program where it has failed", function()
    assert.same({ nil, "ls: timed out after 7 s" }, { result_of(nil, "timed out") })
    assert.same({ nil, "ls: why" }, { result_of(nil, "why") })
  end)
end)

describe("places", function()
  local function start(timeout)
    local got = {}
    local task = world:run(function()
      got.result, got.problem = run.run { "ls", timeout = timeout }
    end)
    return got, task
  end
  local function finish(child)
    results[child] = { 0, 0, "", "" }
    world.core.wake(begun[child].task)
    world:turn()
  end

  it("are as many as the limit, in the order of the calls", function()
    run.set_limit(2)
    local all = {}
    for i = 1, 5 do all[i] = start() end
    assert.equal(2, #begun)
    finish(2)
    world:turn()
    assert.equal(3, #begun)
    assert.is_truthy(all[2].result)
    run.set_limit(4)
    world:turn()
    assert.equal(5, #begun)
    for child = 1, 5 do finish(child) end
    for i = 1, 5 do assert.is_truthy(all[i].result) end
  end)

  it("are waited for no longer than the timeout, and left for others then", function()
    run.set_limit(1)
    local first = start(100)
    local late, next_one = start(5), start(50)
    world:advance(6)
    assert.equal("ls: timed out after 5 s, in which limits.processes, 1, ran already",
      late.problem)
    finish(1)
    world:turn()
    assert.is_truthy(first.result)
    assert.equal(2, #begun)
    assert.equal(44, begun[2].seconds)
    finish(2)
    assert.is_truthy(next_one.result)
    assert.same({ 1, 2 }, ended)
  end)
end)
