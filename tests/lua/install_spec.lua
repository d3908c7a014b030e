-- install_spec.lua -- scripts/install prints packages, their purposes and sizes before it installs
-- them, and its progress; with an apt-get of the test's own.

local process = require "support.process"

local APT = [[#!/bin/sh
# What the real one says, in little. Its arguments are noted; "broken" beside it makes an
# installation fail.
here=$(dirname "$0")
echo "$*" >> "$here/calls"
case "$*" in
  *--print-uris*)
    for name in $(cat "$here/available"); do
      case " $* " in *" $name "*)
        echo "'http://mirror/x' ${name}_1.0-1_amd64.deb $(cat "$here/size") MD5:0" ;;
      esac
    done
    ;;
  *" update"*) echo "dlstatus:1:100.0000:Retrieving file 1 of 1" ;;
  *--download-only*) echo "dlstatus:1:35.5:Retrieving"; echo "Get:1 http://mirror" ;;
  *" install"*)
    echo "pmstatus:gcc:50.0000:Unpacking"
    if [ -e "$here/broken" ]; then echo "dpkg: no space left on device"; exit 100; fi
    echo "pmstatus:gcc:100.0000:Installed"
    ;;
esac
]]

local DPKG = [[#!/bin/sh
cat "$(dirname "$0")/installed"
]]

local CACHE = [[#!/bin/sh
shift 2
for name in "$@"; do echo "Package: $name"; echo "Installed-Size: 2000"; done
]]

describe("scripts/install", function()
  local folder
  before_each(function()
    folder = process.make_directory()
    local sudo = "#!/bin/sh\nexec \"$@\"\n"
    for name, text in pairs({
      ["apt-get"] = APT, ["dpkg-query"] = DPKG, ["apt-cache"] = CACHE, sudo = sudo,
    }) do
      process.write_file(folder .. "/" .. name, text)
      assert(require("luv").fs_chmod(folder .. "/" .. name, tonumber("755", 8)))
    end
    process.write_file(folder .. "/available", "gcc cmake nodejs node-ws")
    process.write_file(folder .. "/size", "60000000")
    process.write_file(folder .. "/installed", "")
  end)
  after_each(function() process.remove_directory(folder) end)

  local function install(...)
    return process.run("/bin/sh", {
      args = { "-c", 'unset LD_PRELOAD; exec scripts/install "$@"', "install", ... },
      environment = { PATH = folder .. ":" .. os.getenv("PATH") },
    })
  end

  it("prints packages, their purposes and sizes, and its progress", function()
    local result = install("build", "browsers")
    assert.same({ 0, "" }, { result.code, result.stderr })
    local said = result.stdout:gsub("done in %d+ s", "done in N s")
    assert.is_truthy(said:find("^Missing for build, browsers:\n  gcc +the C compiler\n"))
    assert.is_truthy(said:find("\n  nodejs +runs Node's WebSocket client\n"))
    assert.equal([[
Package lists: 10 % 20 % 30 % 40 % 50 % 60 % 70 % 80 % 90 % done in N s
With all that they need: 4 packages, 240 MB to download, 8.2 MB on disk
  120 MB of it are for browsers; tests can do without: scripts/test --no-browser
Download, 240 MB: 10 % 20 % 30 % done in N s
Unpack and set up, 8.2 MB: 10 % 20 % 30 % 40 % 50 % 60 % 70 % 80 % 90 % done in N s
]], said:match("Package lists.*"))
  end)

  it("brings no browser for the tests alone", function()
    local result = install("build", "test")
    assert.equal(0, result.code, result.stderr)
    local calls = process.read_file(folder .. "/calls")
    assert.is_nil(result.stdout:find("browsers", 1, true))
    for _, name in ipairs({ "chromium", "nodejs", "node-ws" }) do
      assert.is_nil(calls:find(name, 1, true))
    end
    assert.is_truthy(calls:find("lua-busted", 1, true))
  end)

  it("shows apt-get's last words when it fails", function()
    process.write_file(folder .. "/broken", "")
    local result = install("build")
    assert.equal(1, result.code)
    assert.is_truthy(result.stderr:find("dpkg: no space left on device\n", 1, true))
    assert.is_truthy(result.stderr:find("apt-get install has failed (exit status 100)", 1, true))
    assert.is_nil(result.stderr:find("pmstatus", 1, true))
  end)

  it("says nothing and calls nothing where all is there", function()
    local names = {}
    for _, purpose in ipairs({ "build", "test", "browsers", "lint" }) do
      local list =
        process.read_file("scripts/install"):match("\n" .. purpose .. "_packages=\"\n(.-)\"")
      for name in ("\n" .. list):gmatch("\n(%S+)") do names[#names + 1] = name .. " installed\n" end
    end
    process.write_file(folder .. "/installed", table.concat(names))
    local result = install()
    assert.same({ 0, "", "" }, { result.code, result.stdout, result.stderr })
    assert.is_nil(process.read_file(folder .. "/calls"))
  end)

  it("prints how the program is installed for a folder, or without one", function()
    local result = install("/opt/tidewire")
    assert.equal(2, result.code)
    assert.matches("The program is installed by scripts/install %-%-prefix /opt/tidewire\n$",
      result.stderr)
    result = install("--prefix")
    assert.same({ 2, "scripts/install: --prefix needs a folder, such as /usr/local\n" },
      { result.code, result.stderr })
  end)

  it("lists its purposes for an unknown one", function()
    local result = install("tests")
    assert.equal(2, result.code)
    assert.is_truthy(result.stderr
      :find("'tests' is not a purpose; there are build, test, browsers, lint", 1, true))
  end)
end)
