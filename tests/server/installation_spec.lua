-- installation_spec.lua -- `cmake --install` puts the program, its manual page and types below a
-- prefix, and the program works from there.

local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local BUILD = os.getenv("TIDEWIRE_BUILD_DIR") or "build/debug"

local FILES = {
  "bin/tidewire", "share/man/man1/tidewire.1", "share/tidewire/types/tidewire.lua",
  "share/doc/tidewire/LICENSE",
}

describe("cmake --install", function()
  local folder

  before_each(function() folder = process.make_directory() end)
  after_each(function()
    stream.close_all()
    process.remove_directory(folder)
  end)

  local function install(prefix, environment)
    local args = { "--install", BUILD, "--prefix", prefix }
    local result = process.run("cmake", { args = args, environment = environment })
    assert.equal(0, result.code, result.stdout .. result.stderr)
  end

  it("puts the program, its manual page, types and license below a prefix", function()
    install(folder .. "/a prefix")
    for _, name in ipairs(FILES) do
      assert.is_truthy(process.read_file(folder .. "/a prefix/" .. name), name .. " is not there")
    end
    assert.equal(process.read_file("man/tidewire.1"),
      process.read_file(folder .. "/a prefix/" .. FILES[2]))
    local program = folder .. "/a prefix/bin/tidewire"
    local version = process.run(program, { args = { "version" } })
    assert.equal(server.run({ "version" }).stdout, version.stdout)
    assert.equal(0, process.run(program, { args = { "new", "shop" }, directory = folder }).code)
    assert.equal(0, process.run(program, { args = { "check", "shop" }, directory = folder }).code)
  end)

  it("puts them below DESTDIR, as packages want it", function()
    install("/usr", { DESTDIR = folder .. "/root" })
    for _, name in ipairs(FILES) do
      assert.is_truthy(process.read_file(folder .. "/root/usr/" .. name), name .. " is not there")
    end
  end)
end)
