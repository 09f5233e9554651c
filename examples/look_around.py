"""Look around a cluttered canvas at random and guess: the environments in ten lines."""

import gymnasium as gym

import ram_envs  # noqa: F401  registers the ids

env = gym.make("RAMClutteredMNIST-v0", dataset="digits")
observation, info = env.reset(seed=0)
print("a glimpse:", observation["glimpse"].shape, "taken at", observation["location"])

over = False
while not over:
    location, label = env.action_space.sample()  # where to look next, and a guess
    observation, reward, over, _, info = env.step((location, label))
    print(f"looked at ({location[0]:+.2f}, {location[1]:+.2f}), said {label}, reward {reward}")
print("it was", info["label"])
