-- test_report_spec.lua -- scripts/test prints of a run of ctest: failures with their output,
-- skipped tests, the summary, and nothing of tests that passed.

local process = require "support.process"

local RUN = [[
Internal ctest changing into directory: /src/build/debug
Test project /src/build/debug
      Start  1: unit/heap
      Start  2: server/echo
 1/10 Test  #1: unit/heap ........................   Passed    0.05 sec
      Start  3: server/rooms@3
 2/10 Test  #2: server/echo ......................***Failed    0.06 sec
-.+
1 success / 1 failure

Failure → tests/server/echo_spec.lua @ 2
100 bytes were expected

 3/10 Test  #3: server/rooms@3 ...................***Timeout 120.00 sec
waits for ada

 4/10 Test  #4: unit/tls .........................Child aborted***Exception:   0.02 sec
it ended in the middle

 5/10 Test  #5: lua/json ...***Failed  Error regular expression found in output. Regex=[x]  0.5 sec
nothing was tried

 6/10 Test  #6: browser/chat .....................***Skipped   0.03 sec
 7/10 Test  #7: unit/list ........................   Passed    0.05 sec
 8/10 Test  #8: unit/mem .........................   Passed    0.05 sec
 9/10 Test  #9: unit/mime ........................   Passed    0.05 sec
10/10 Test #10: interop/clients ..................   Passed    0.05 sec

60% tests passed, 4 tests failed out of 10

Label Time Summary:
server  =   0.05 sec*proc (2 tests)

Total Test time (real) =   1.20 sec

The following tests FAILED:
          2 - server/echo (Failed)
Errors while running CTest
]]

local LOG = [[
1/10 Testing: server/echo
Output:
Pending comes later
<end of output>
6/10 Testing: browser/chat
Pending → tests/browser/chat_spec.lua @ 17
is not tried: no browser
10/10 Testing: interop/clients
Pending -> tests/interop/clients_spec.lua @ 30
Node's ws is not tried: no node
Pending -> tests/interop/clients_spec.lua @ 31
is not tried: no browser
]]

describe("the report of a test run", function()
  local folder
  lazy_setup(function() folder = process.make_directory() end)
  lazy_teardown(function() process.remove_directory(folder) end)

  local function report(run, log, progress)
    process.write_file(folder .. "/run", run)
    if log then process.write_file(folder .. "/log", log) end
    local result = process.run("/bin/sh", {
      args = { "-c", ("env -u LD_PRELOAD lua5.4 cmake/test_report.lua %s/%s < %s/run"):format(
        folder, log and "log" or "none", folder) },
      environment = { TIDEWIRE_TEST_PROGRESS = progress or "" },
    })
    assert.same({ 0, "" }, { result.code, result.stderr })
    return result.stdout
  end

  it("prints progress, failures with their output, skipped tests and ctest's summary", function()
    assert.equal([[
Running 10 tests: 10 % 20 %
  failed: server/echo
Running: 30 %
  failed: server/rooms@3
Running: 40 %
  failed: unit/tls
Running: 50 %
  failed: lua/json
Running: 60 % 70 % 80 % 90 % done

---- server/echo, after 0.06 s
-.+
1 success / 1 failure

Failure → tests/server/echo_spec.lua @ 2
100 bytes were expected

---- server/rooms@3, after 120.00 s
waits for ada

---- unit/tls, after 0.02 s
it ended in the middle

---- lua/json, after 0.5 s
nothing was tried

Left out:
  is not tried: no browser
    in browser/chat, interop/clients
  Node's ws is not tried: no node
    in interop/clients

60% tests passed, 4 tests failed out of 10

Total Test time (real) =   1.20 sec

The following tests FAILED:
          2 - server/echo (Failed)
Errors while running CTest
]], report(RUN, LOG))
  end)

  it("is short where all went well", function()
    local run = [[
Test project /src/build/debug
    Start 1: unit/heap
1/1 Test #1: unit/heap ........................   Passed    0.05 sec

100% tests passed, 0 tests failed out of 1

Total Test time (real) =   0.08 sec
]]
    assert.equal([[
Running 1 test: 10 % 20 % 30 % 40 % 50 % 60 % 70 % 80 % 90 % done
100% tests passed, 0 tests failed out of 1

Total Test time (real) =   0.08 sec
]], report(run))
  end)

  it("writes one line over and over on a terminal", function()
    local said = report(RUN, LOG, "live")
    local clear = "\r\27[K"
    assert.equal(clear .. "[1/10] unit/heap" .. clear .. "[2/10] server/echo" .. clear
      .. "  failed: server/echo\n"
      .. clear .. "[3/10] server/rooms@3", said:match("^(.-)\r\27%[K  failed: server/rooms"))
    assert.is_truthy(
      said:find("[10/10] interop/clients\r\27[K\n---- server/echo, after 0.06 s\n", 1, true))
  end)

  it("prints the failures of a run that was cut off, and passes on unknown lines", function()
    local cut = RUN:match("^(.-)\n 3/10")
    assert.equal([[
Running 10 tests: 10 % 20 %
  failed: server/echo

---- server/echo, after 0.06 s
-.+
1 success / 1 failure

Failure → tests/server/echo_spec.lua @ 2
100 bytes were expected
]], (report(cut .. "\n")))
    assert.equal("No tests were found!!!\n", report("No tests were found!!!\n"))
  end)

  it("prints the failures before an interruption", function()
    process.write_file(folder .. "/cut", RUN:match("^(.-\n) 4/10"))
    local result = process.run("/bin/sh", {
      args = { "-c", ([[
        unset LD_PRELOAD
        cd "$1" && mkfifo pipe && : > out
        (cd "$2" && exec lua5.4 cmake/test_report.lua none) < pipe > out 2>&1 &
        exec 3> pipe
        cat cut >&3
        until grep -q rooms@3 out; do sleep 0.05; done
        kill -INT $!
        exec 3>&-
        wait $!
        cat out
      ]]), "report", folder, require("luv").cwd() },
    })
    assert.is_truthy(result.stdout:find("\n---- server/echo, after 0.06 s\n", 1, true),
      result.stdout)
    assert.is_truthy(result.stdout:find("\nwaits for ada\n", 1, true), result.stdout)
    assert.is_nil(result.stdout:find("interrupted!", 1, true))
  end)
end)
