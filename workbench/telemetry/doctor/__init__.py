"""What `workbench doctor` looks at and finds: the machine, its GPUs, the build of llama.cpp, the environment."""
