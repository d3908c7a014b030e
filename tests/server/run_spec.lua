-- run_spec.lua -- tw.run with real programs: input, output and ends, what a program inherits, its
-- limits, and that nothing is left of it. tests/lua/run_spec.lua tests invalid arguments.

local cjson = require "cjson"
local faults = require "support.faults"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

-- "/" runs what a message says; "/echo" is there to see that others go on.
local APP = [[
local tw = require "tidewire"
local record = require "record"
local at_load = tw.run{ "echo", "at", "load" }.stdout

local orders = {}

--- { words = { "ls", "-l" }, cwd = "/" } as tw.run's argument: JSON has no table with both.
local function argument_of(program)
  local argument = {}
  for name, value in pairs(program) do argument[name] = value end
  argument.words = nil
  return table.move(program.words, 1, #program.words, 1, argument)
end

function orders.run(order)
  local given = argument_of(order.program)
  given.stdin = order.repeated and ("0123456789abcdef"):rep(order.repeated) or given.stdin
  local result, problem = tw.run(given)
  if result and order.repeated then
    result.is_same, result.stdout = result.stdout == given.stdin, nil
  end
  return { result = result, problem = problem }
end

-- gives the output to a function, which waits each time
function orders.stream(order)
  local given, size, calls, short, errors = argument_of(order.program), 0, 0, 0, ""
  function given.on_stdout(chunk)
    size, calls = size + #chunk, calls + 1
    local before = tw.now()
    if order.wait then tw.sleep(0.01) end
    if order.wait and tw.now() - before < 0.009 then short = short + 1 end
    if order.throw then error("enough") end
  end
  function given.on_stderr(chunk) errors = errors .. chunk end
  local ok, result, problem = pcall(tw.run, given)
  return {
    size = size, calls = calls, short = short, errors = errors, problem = ok and problem or result,
    result = ok and result or nil,
  }
end

function orders.many(order)
  local done, bad = 0, 0
  for i = 1, order.count do
    tw.spawn(function()
      local result = tw.run{ "sh", "-c", "cat; echo " .. i, stdin = "in " }
      if not result or result.stdout ~= ("in %d\n"):format(i) then bad = bad + 1 end
      done = done + 1
    end)
  end
  while done < order.count do tw.sleep(0.005) end
  return { bad = bad }
end

-- the script closes a coroutine that waits for a program
function orders.closed(order)
  local has_ended
  local co = coroutine.create(function() tw.run(argument_of(order.program)) end)
  tw.spawn(function()
    coroutine.resume(co)
    has_ended = true
  end)
  tw.sleep(0.05)
  pcall(coroutine.close, co)
  while not has_ended do tw.sleep(0.001) end
  return {}
end

-- returns the order in which programs end
function orders.queue(order)
  local ends = {}
  for i, program in ipairs(order.programs) do
    tw.spawn(function()
      local result, problem = tw.run(argument_of(program))
      ends[#ends + 1] = i .. " " .. (problem or result.code or result.signal)
    end)
  end
  while #ends < #order.programs do tw.sleep(0.005) end
  return { ends = ends }
end

return {
  limits = { processes = 2 },
  endpoints = {
    ["/"] = {
      codec = "json",
      handle_message = function(conn, order) conn:send(orders[order.what](order)) end,
      on_close = function() record("closed") end,
    },
    ["/echo"] = { handle_message = function(conn, message) conn:send(message) end },
    ["/block"] = {
      handler_timeout = 60,
      handle_message = function(conn)
        tw.spawn(function()
          local result = tw.run{ "sh", "-c", "sleep 0.1; head -c 60000 /dev/zero" }
          conn:send(tostring(#result.stdout))
        end)
        tw.after(0.005, function()
          local until_then = tw.now() + 0.7
          while tw.now() < until_then do end
        end)
      end,
    },
  },
  http = { ["/load"] = function() return at_load end },
}
]]

local app, ada

local function ask(order, client)
  return cjson.decode(((client or ada):ask(cjson.encode(order), 60)))
end

-- Marks the programs of this run of the tests, among others that may run: a part of a number.
local MARK <const> = (".%d"):format(uv.os_getpid())
local function marked(text) return (text:gsub("MARK", MARK)) end

local function command(words, options)
  local program = { words = {} }
  for i, word in ipairs(words) do program.words[i] = marked(word) end
  for name, value in pairs(options or {}) do program[name] = value end
  return program
end
local function script(text, options) return command({ "sh", "-c", text }, options) end
local function run(program, client)
  program = program.words and program or command(program)
  return ask({ what = "run", program = program }, client)
end

--- The processes that have the server as their parent, or had: with this text in their command
--- line, or "defunct".
local function processes_of(pid, text)
  local found = {}
  text = marked(text)
  local listing = process.run("/bin/ps", { args = { "-eo", "pid,ppid,stat,args" } }).stdout
  for line in listing:gmatch("[^\n]+") do
    local id, parent, state, arguments = line:match("^%s*(%d+)%s+(%d+)%s+(%S+)%s+(.*)$")
    if id and (tonumber(parent) == pid and state:find("Z") or arguments:find(text, 1, true)) then
      found[#found + 1] = line
    end
  end
  return found
end

local function none_is_left(pid, text)
  assert.is_truthy(loop.wait_until(function() return #processes_of(pid, text) == 0 end),
    table.concat(processes_of(pid, text), "\n"))
end

describe("tw.run", function()
  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  before_each(function() ada = app:connect() end)
  after_each(stream.close_all)

  it("returns the exit code, the signal, and both outputs", function()
    assert.same({ code = 3, stdout = "out\n", stderr = "err\n" },
      run(script("echo out; echo err >&2; exit 3")).result)
    assert.same({ signal = "SIGKILL", stdout = "", stderr = "" },
      run(script("kill -9 $$")).result)
    assert.equal("a b|c", run({ "printf", "%s|%s", "a b", "c" }).result.stdout)
    assert.equal("at load\n", app:http("/load").body)
  end)

  it("writes the input, of any size, whether it is read or not", function()
    assert.equal("HELLO", run(script("tr a-z A-Z", { stdin = "hello" })).result.stdout)
    assert.equal("0\n", run(script("wc -c", { stdin = "" })).result.stdout)
    assert.equal("0\n", run({ "wc", "-c" }).result.stdout)
    local answer = ask({
      what = "run", program = script("cat", { max_output = "8M" }), repeated = 1 << 18,
    })
    assert.is_true(answer.result.is_same)
    assert.equal(0, ask({ what = "run", program = script("exit 0"), repeated = 1 << 18 })
      .result.code)
    assert.equal(0, ask({
      what = "run", program = script("exec 0<&-; sleep 0.1"), repeated = 1 << 18,
    }).result.code)
  end)

  it("gives the program a folder and an environment", function()
    assert.equal("/usr\n", run(script("pwd", { cwd = "/usr" })).result.stdout)
    assert.equal("1 two",
      run(script("printf '%s %s' $A $B", { env = { A = 1, B = "two" } })).result.stdout)
    assert.equal("none", run(script("printf ${HOME-none}", { env = { HOME = false } }))
      .result.stdout)
    assert.equal("A=1\n",
      run(command({ "/usr/bin/env" }, { clear_env = true, env = { A = "1" } })).result.stdout)
  end)

  it("starts a program with the standard descriptors, no signal blocked or ignored, and a session "
    .. "of its own", function()
    local text = run(script("ls /proc/self/fd | tr '\\n' ' '; grep -E 'Sig(Ign|Blk)' "
      .. "/proc/self/status; ps -o pid=,pgid=,sid= -p $$")).result.stdout
    local descriptors, blocked, ignored, pid, group, session =
      text:match("^([%d ]+)SigBlk:%s*(%x+)%s*SigIgn:%s*(%x+)%s*(%d+)%s+(%d+)%s+(%d+)")
    assert.equal("0 1 2 3 ", descriptors) -- 3 is the listing's own
    assert.matches("^0+$", blocked)
    assert.equal(0, tonumber(ignored, 16) & 0x7fffffff)
    assert.same({ pid, pid }, { group, session })
    assert.equal("fifo\n", run({ "stat", "-L", "-c", "%F", "/dev/stdout" }).result.stdout)
  end)

  it("returns why a program cannot be started", function()
    assert.matches("^no%-such%-program: not found in PATH, .*/bin",
      run({ "no-such-program" }).problem)
    assert.equal("/no/such: No such file or directory", run({ "/no/such" }).problem)
    assert.equal("/etc/passwd: Permission denied", run({ "/etc/passwd" }).problem)
    assert.equal("/: Permission denied", run({ "/" }).problem)
    assert.equal("sh: cwd /none: No such file or directory",
      run(script("pwd", { cwd = "/none" })).problem)
    assert.equal("sh: cwd /etc/passwd: Not a directory",
      run(script("pwd", { cwd = "/etc/passwd" })).problem)
    process.write_file(app.directory .. "/broken", "#!/no/interpreter\n")
    os.execute(("chmod +x '%s/broken'"):format(app.directory))
    assert.equal("./broken: the interpreter that it names does not exist",
      run({ "./broken" }).problem)
    assert.equal("sh: Argument list too long", run({ "sh", "-c", (":"):rep(200000) }).problem)
    assert.equal("id: not found in PATH, /none",
      run(command({ "id" }, { env = { PATH = "/none" } })).problem)
  end)

  it("ends the process group when the time is over, by SIGKILL if need be", function()
    assert.equal("sh: timed out after 0.1 s",
      run(script("sleep 987654MARK", { timeout = 0.1 })).problem)
    assert.equal("sh: timed out after 0.1 s",
      run(script("sleep 987654MARK & sleep 987654MARK", { timeout = 0.1 })).problem)
    assert.equal("sh: timed out after 0.1 s",
      run(script("trap '' TERM; sleep 987654MARK; sleep 987654MARK", { timeout = 0.1 })).problem)
    none_is_left(app.pid, "987654MARK")
  end)

  it("has a limit of output, and of memory", function()
    assert.equal(1000, #run(script("head -c 1000 /dev/zero", { max_output = 1000 })).result.stdout)
    assert.equal("yes: it wrote more than max_output, 1000 bytes, to standard output",
      run(command({ "yes", "98765MARK" }, { max_output = 1000 })).problem)
    assert.equal("sh: it wrote more than max_output, 1048576 bytes, to standard error",
      run(script("yes 98765MARK >&2")).problem)
    assert.equal("", run(script("true", { max_output = 0 })).result.stdout)
    none_is_left(app.pid, "98765MARK")
    local small <close> =
      server.start({ app = APP, environment = { TIDEWIRE_LIMITS_MEMORY = "16M" } })
    local bob = small:connect()
    assert.equal("yes: limits.memory leaves no room for its output",
      run(command({ "yes" }, { max_output = "1G" }), bob).problem)
    assert.equal("again\n", run({ "echo", "again" }, bob).result.stdout)
  end)

  it("knows exit codes where the server's own parent ignores SIGCHLD", function()
    local other <close> = server.start({
      app = APP,
      shell = "exec python3 -c 'import os, signal, sys\n"
        .. "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        .. "os.execv(sys.argv[1], sys.argv[1:])' \"$0\" \"$@\";",
    })
    assert.equal(3, run(script("exit 3"), other:connect()).result.code)
  end)

  it("works with --seccomp, whose filter the program has too", function()
    local other <close> = server.start({
      app = APP, options = { "--seccomp" },
      -- LeakSanitizer stops other threads by ptrace, which the filter forbids
      environment = { ASAN_OPTIONS = (os.getenv("ASAN_OPTIONS") or "") .. ":detect_leaks=0" },
    })
    local bob = other:connect()
    assert.equal("x\n", run({ "echo", "x" }, bob).result.stdout)
    local result = run({ "mount", "-t", "tmpfs", "none", "/mnt" }, bob).result
    assert.not_equal(0, result.code)
    assert.matches("denied", result.stderr)
  end)

  it("gives output to functions, which may wait: the program waits for them", function()
    local answer = ask({
      what = "stream", program = script("head -c 3000000 /dev/zero; echo err >&2"), wait = true,
    })
    assert.same({ 3000000, "err\n", { code = 0 } },
      { answer.size, answer.errors, answer.result })
    assert.equal(0, answer.short) -- output wakes no other wait
    assert.is_true(answer.calls > 20)
    answer = ask({ what = "stream", program = script("yes 876543MARK"), throw = true })
    assert.matches("enough", answer.problem)
    none_is_left(app.pid, "876543MARK")
  end)

  it("does not wait for a process that the program leaves behind", function()
    local answer = run(script("sleep 765432MARK & echo started"))
    assert.same({ code = 0, stdout = "started\n", stderr = "" }, answer.result)
    for _, line in ipairs(processes_of(app.pid, "765432MARK")) do
      uv.kill(tonumber(line:match("%d+")), "sigterm")
    end
  end)

  it("does not wait for one that writes without end, where a function takes the output", function()
    local answer = ask({
      what = "stream", program = script("yes 987654MARK & echo started", { timeout = 1000 }),
      wait = true,
    })
    assert.same({ code = 0 }, answer.result, answer.problem)
    none_is_left(app.pid, "987654MARK") -- its pipe is closed
  end)

  it("loses no output while the worker is busy at the program's end", function()
    local bob = app:connect("/block")
    assert.equal("60000", (bob:ask("go", 60)))
  end)

  it("ends the program when the script closes the coroutine that waits", function()
    ask({ what = "closed", program = script("sleep 654321MARK", { timeout = 1000 }) })
    none_is_left(app.pid, "654321MARK")
    assert.equal("x\n", run({ "echo", "x" }).result.stdout)
  end)

  it("runs limits.processes at once; others wait in order, and their time passes", function()
    local started = loop.now()
    local answer = ask({
      what = "queue",
      programs = {
        script("sleep 0.3"), script("sleep 0.6"), script("true"), script("true", { timeout = 0.1 }),
        script("sleep 0.01"),
      },
    })
    assert.equal("4 sh: timed out after 0.1 s, in which limits.processes, 2, ran already",
      answer.ends[1])
    assert.equal("1 0", answer.ends[2])
    assert.equal("3 0", answer.ends[3])
    table.sort(answer.ends)
    assert.same({ "1 0", "2 0", "3 0", "5 0" },
      { answer.ends[1], answer.ends[2], answer.ends[3], answer.ends[5] })
    assert.is_true(loop.now() > started)
  end)

  it("leaves no process, descriptor or memory behind, with many at once", function()
    local bob = app:connect("/echo")
    ask({ what = "many", count = 20 })
    local before = app.process:fd_count()
    ada:send_text(cjson.encode({ what = "many", count = 300 }))
    for _ = 1, 100 do assert.equal("hello", (bob:ask("hello"))) end
    assert.equal(0, cjson.decode((ada:receive(60))).bad)
    none_is_left(app.pid, "no such text")
    assert.is_truthy(loop.wait_until(function() return app.process:fd_count() <= before end))
  end)

  it("runs programs on all workers at once", function()
    local clients = {}
    for i = 1, 12 do
      clients[i] = app:connect()
      clients[i]:send_text(cjson.encode({ what = "many", count = 30 }))
    end
    for _, client in ipairs(clients) do
      assert.equal(0, cjson.decode((client:receive(60))).bad)
    end
    none_is_left(app.pid, "no such text")
  end)
end)

describe("a start that takes long", function()
  local other, bob, started

  --- Waits until so many starts have begun, of those that this test has asked for.
  local function wait_for_starts(count)
    assert.is_truthy(loop.wait_until(function() return faults.spawns(other) == started + count end))
  end

  --- Lets all starts that have begun go on, and waits until they are over.
  local function release()
    faults.block_spawn(other, false)
    assert.is_truthy(loop.wait_until(function()
      local begun, done = faults.spawns(other)
      return begun == done
    end))
  end

  before_each(function()
    other = server.start(faults.options({
      app = APP, options = { "--drain-seconds", "0.1" }, environment = { UV_THREADPOOL_SIZE = "1" },
    }))
    bob = other:connect()
    started = faults.spawns(other) -- while the code was loaded
    faults.block_spawn(other, true)
  end)
  after_each(function()
    faults.block_spawn(other, false)
    stream.close_all()
    other:stop()
  end)

  it("holds up no connection", function()
    bob:send_text(cjson.encode({ what = "run", program = command({ "echo", "x" }) }))
    wait_for_starts(1)
    for _ = 1, 6 do assert.equal("hello", (other:connect("/echo"):ask("hello"))) end
    release()
    assert.equal("x\n", cjson.decode((bob:receive(60))).result.stdout)
  end)

  it("counts in the program's time: what runs afterwards is ended, what waits is not started",
    function()
      local sleep = command({ "sleep", "210987MARK" }, { timeout = 0.1 })
      assert.same({ "1 sleep: timed out after 0.1 s", "2 sleep: timed out after 0.1 s" },
        ask({ what = "queue", programs = { sleep, sleep } }, bob).ends)
      release()
      none_is_left(other.pid, "210987MARK")
      assert.equal("x\n", run({ "echo", "x" }, bob).result.stdout)
      assert.equal(started + 2, (faults.spawns(other)))
    end)

  it("outlives the coroutine that waits, and the program is ended", function()
    ask({ what = "closed", program = command({ "sleep", "109876MARK" }) }, bob)
    wait_for_starts(1)
    release()
    none_is_left(other.pid, "109876MARK")
  end)

  it("outlives the scripts, and the server ends when the program has ended", function()
    bob:send_text(cjson.encode({ what = "run", program = command({ "sleep", "198765MARK" }) }))
    wait_for_starts(1)
    other:signal("sigterm")
    bob:wait_closed()
    release()
    assert.same({ 0, 0 }, { other.process:wait_exit() })
    none_is_left(other.pid, "198765MARK")
  end)
end)

describe("the end of", function()
  after_each(stream.close_all)

  it("a connection: its hook goes on, and the program with it", function()
    local other <close> = server.start({ app = APP })
    local bob = other:connect()
    bob:send_text(cjson.encode({ what = "run", program = script("sleep 0.2; : 543210MARK") }))
    loop.wait_until(function() return #processes_of(other.pid, "543210MARK") > 0 end)
    bob:abort()
    other:wait_event("closed")
    none_is_left(other.pid, "543210MARK")
  end)

  it("the server: its programs are ended and waited for", function()
    local stubborn = "trap '' TERM; sleep 432109MARK; sleep 432109MARK"
    for _, text in ipairs { "sleep 432109MARK; :", stubborn } do
      local other = server.start({ app = APP, options = { "--drain-seconds", "0.1" } })
      local bob = other:connect()
      for _ = 1, 4 do
        local client = other:connect()
        client:send_text(cjson.encode({ what = "run", program = script(text) }))
      end
      bob:send_text(cjson.encode({ what = "run", program = script(text) }))
      assert.is_truthy(loop.wait_until(function()
        return #processes_of(other.pid, "432109MARK") > 1
      end))
      other:stop()
      none_is_left(other.pid, "432109MARK")
    end
  end)

  it("the code that has started it while it was loaded", function()
    local code = [[
      local tw = require "tidewire"
      if tw.generation == 1 then
        tw.spawn(function() tw.run{ "sleep", "321098MARK", timeout = 1000 } end)
      end
      return { endpoints = { ["/"] = {} } }
    ]]
    local other <close> = server.start({ app = marked(code) })
    assert.is_truthy(loop.wait_until(function()
      return #processes_of(other.pid, "321098MARK") > 0
    end))
    other:signal("sighup")
    none_is_left(other.pid, "321098MARK")
  end)
end)
