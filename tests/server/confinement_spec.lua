-- confinement_spec.lua -- a server that root has started serves as an ordinary user (--user), and
-- system calls that no server needs fail (--seccomp).

local loop = require "support.loop"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

-- Hooks of this app run programs, which have the rights of the server that starts them.
local APP = [[
local record = require "record"
local function status()
  local file = assert(io.open("/proc/self/status"))
  local text = file:read("a")
  file:close()
  return text
end
local loaded = status()
local file = io.open("made-while-loading", "w")
if file then file:close() end
return {
  handle_message = function(conn, message)
    if message == "loaded" then conn:send(loaded)
    elseif message == "status" then conn:send(status())
    else
      local program <close> = assert(io.popen("exec 2>&1; " .. message))
      conn:send(program:read("a"))
    end
  end,
}
]]

-- LeakSanitizer reads the memory of the process by ptrace(2), which is forbidden here.
local WITHOUT_LEAKS = { ASAN_OPTIONS = (os.getenv("ASAN_OPTIONS") or "") .. ":detect_leaks=0" }

local IS_ROOT = uv.getuid() == 0

--- Gives a folder and its files to the user.
local function give(user)
  return function(folder)
    assert.equal(0, process.run("chown", { args = { "-R", user, folder } }).code)
  end
end

local function ask(app, question)
  local ada = app:connect("/")
  local answer = ada:ask(question)
  ada:close()
  return answer
end

--- An app that root starts for a user, to whom its files belong. The keys of the TLS tests are
--- root's.
local function start_for(user, options)
  options.app = APP
  options.options = { "--user", user, table.unpack(options.options or {}) }
  options.prepare = give(user)
  options.environment = { TIDEWIRE_TLS_CERTIFICATE = "", TIDEWIRE_TLS_KEY = "" }
  return options
end

--- The numbers of a line of /proc/PID/status.
local function line(status, name)
  return (status:match("\n" .. name .. ":%s*([^\n]-)%s*\n"))
end

--- A port of 127.0.0.1 that only root may open, and that nobody uses.
local function low_port()
  for port = 1023, 600, -1 do
    local socket = uv.new_tcp()
    local free = socket:bind("127.0.0.1", port) and socket:listen(1, function() end)
    socket:close()
    if free then return port end
  end
  error("all ports below 1024 are in use")
end

describe("--user", function()
  after_each(stream.close_all)

  it("needs root, and a user and group that exist", function()
    local app = "tests/server/no_app.lua"
    for name, fault in pairs {
      ["no-such-user"] = 'there is no user "no-such-user"',
      ["nobody:no-such-group"] = 'there is no group "no-such-group"',
      ["123456"] = "a number needs a group, as in 1000:1000",
      [":nogroup"] = "expected NAME or NAME:GROUP",
      ["nobody"] = not IS_ROOT and "only root can start the server for another user" or nil,
      ["root"] = IS_ROOT and "root's rights would not be given up" or nil,
    } do
      local result = server.run({ app, "--user", name })
      assert.equal(2, result.code)
      assert.is_truthy(result.stderr:find(fault, 1, true), result.stderr)
    end
  end)

  if not IS_ROOT then
    return pending("what root can do is tested where the tests run as root")
  end

  it("keeps nothing of root's but the port that it has opened", function()
    local port = low_port()
    local app <close> = server.start(start_for("nobody", { listen = { "127.0.0.1:" .. port } }))
    assert.equal(port, app.addresses[1].port)
    local status = ask(app, "status")
    local uid, gid = line(status, "Uid"):match("%d+"), line(status, "Gid"):match("%d+")
    assert.not_equal("0", uid)
    assert.equal(("%s\t%s\t%s\t%s"):format(uid, uid, uid, uid), line(status, "Uid"))
    assert.equal(("%s\t%s\t%s\t%s"):format(gid, gid, gid, gid), line(status, "Gid"))
    assert.equal(gid, line(status, "Groups"))
    for _, name in ipairs { "CapEff", "CapPrm", "CapInh", "CapAmb" } do
      assert.matches("^0+$", line(status, name))
    end
    assert.equal("1", line(status, "NoNewPrivs"))
    local child = ask(app, "cat /proc/self/status")
    assert.equal(line(status, "Uid"), line(child, "Uid"))
    assert.equal("1", line(child, "NoNewPrivs"))
  end)

  it("loads the scripts, and reloads them, as the user", function()
    local app <close> = server.start(start_for("nobody:nogroup", {}))
    assert.matches("^%d+\t" .. line(ask(app, "status"), "Uid"):match("%d+"),
      line(ask(app, "loaded"), "Uid"))
    local made = assert(uv.fs_stat(app.directory .. "/made-while-loading"))
    assert.equal(uv.fs_stat(app.directory).uid, made.uid)
    reloads.good(app, {})
    assert.matches("Uid:%s*[1-9]", ask(app, "loaded"))
  end)

  it("takes numbers of a user that has no name", function()
    local app <close> = server.start(start_for("54321:54322", {}))
    local status = ask(app, "status")
    assert.equal("54321\t54321\t54321\t54321", line(status, "Uid"))
    assert.equal("54322\t54322\t54322\t54322", line(status, "Gid"))
    assert.equal("54322", line(status, "Groups"))
  end)

  it("writes its files as the user, and removes them at the end", function()
    local app <close> = server.launch(start_for("nobody", {
      listen = { "unix:socket" }, options = { "--pid-file", "pid", "--log-file", "log" },
    }))
    assert.is_truthy(loop.wait_until(function()
      return (process.read_file(app.directory .. "/log") or ""):find("event=ready", 1, true)
    end))
    local owner = assert(uv.fs_stat(app.directory)).uid
    for _, name in ipairs { "pid", "pid.sock", "socket", "log" } do
      assert.equal(owner, assert(uv.fs_stat(app.directory .. "/" .. name)).uid)
    end
    app:signal("sigterm")
    assert.equal(0, (app.process:wait_exit()))
    for _, name in ipairs { "pid", "pid.sock", "socket" } do
      assert.is_nil(uv.fs_stat(app.directory .. "/" .. name))
    end
  end)

  it("says so when a file is root's alone", function()
    local folder = process.make_directory()
    process.write_file(folder .. "/app.lua", APP)
    local result = server.run({ "app.lua", "--user", "nobody", "--listen", "127.0.0.1:0" },
      { directory = folder, environment = WITHOUT_LEAKS })
    process.remove_directory(folder)
    assert.equal(2, result.code)
    assert.matches("app.lua: cannot read the file: Permission denied", result.stderr)
  end)
end)

describe("--seccomp", function()
  after_each(stream.close_all)

  -- Makes system calls by their numbers, as a program of an attacker would.
  local CALLS = [[
import ctypes, errno, os, platform, socket
libc = ctypes.CDLL(None, use_errno=True)
numbers = {"x86_64": dict(ptrace=101, mount=165, bpf=321, unshare=272, perf_event_open=298,
                          add_key=248, userfaultfd=323, io_uring_setup=425, kexec_load=246,
                          clone3=435, personality=135, process_vm_readv=310, setns=308),
           "aarch64": dict(ptrace=117, mount=40, bpf=280, unshare=97, perf_event_open=241,
                           add_key=217, userfaultfd=282, io_uring_setup=425, kexec_load=104,
                           clone3=435, personality=92, process_vm_readv=270, setns=268)}
for name, number in sorted(numbers[platform.machine()].items()):
    ctypes.set_errno(0)
    result = libc.syscall(number, 0, 0, 0, 0, 0, 0)
    print(name, errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno()))
for name in "AF_PACKET", "AF_ALG", "AF_VSOCK":
    try:
        socket.socket(getattr(socket, name), socket.SOCK_DGRAM if name == "AF_PACKET" else
                      socket.SOCK_SEQPACKET if name == "AF_ALG" else socket.SOCK_STREAM)
        print(name, "opened")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
]]

  local function start(options)
    options.app = APP
    options.files = { ["calls.py"] = CALLS }
    options.environment = WITHOUT_LEAKS
    return server.start(options)
  end

  it("refuses what no server needs, to the server's programs as well", function()
    local app <close> = start({ options = { "--seccomp" } })
    local answer = ask(app, "python3 calls.py")
    for name, result in answer:gmatch("(%S+) (%S+)\n") do
      local expected = name == "clone3" and "ENOSYS" or name:find("^AF") and "EAFNOSUPPORT"
        or "EPERM"
      assert.equal(name .. " " .. expected, name .. " " .. result)
    end
    assert.equal(16, select(2, answer:gsub("\n", "")), answer)
    local _, threads = ask(app, "grep -h '^Seccomp:' /proc/$PPID/task/*/status"):gsub("\t2\n", "")
    local _, all = ask(app, "ls /proc/$PPID/task"):gsub("\n", "")
    assert.equal(all, threads)
  end)

  it("without it these are the kernel's to refuse", function()
    local app <close> = start({})
    assert.matches("personality 0\n", ask(app, "python3 calls.py"))
  end)

  it("lets the server do all its work", function()
    local app <close> = start({ options = { "--seccomp", "--pid-file", "pid" } })
    assert.equal("hello\n", ask(app, "echo hello"))
    reloads.good(app, {})
    assert.equal("127.0.0.1\n", ask(app, "python3 -c 'import socket, threading\n"
      .. "t = threading.Thread(target=lambda: print(socket.gethostbyname(\"127.0.0.1\")))\n"
      .. "t.start(); t.join()'"))
  end)
end)

describe("the unit file of the docs", function()
  it("confines the service", function()
    if not process.find("systemd-analyze") then return pending("there is no systemd-analyze") end
    local unit = process.read_file("docs/recipes.md"):match("# tidewire%.service\n(.-)```")
    local folder = process.make_directory()
    process.write_file(folder .. "/tidewire.service", unit)
    local result = process.run("systemd-analyze", { args = {
      "security", "--offline=true", "--no-pager", "--threshold=25", folder .. "/tidewire.service",
    } })
    process.remove_directory(folder)
    assert.equal(0, result.code, result.stdout)
    assert.falsy(result.stderr:find("Unknown", 1, true), result.stderr)
  end)
end)
