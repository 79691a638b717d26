"""The kinds of labelled data that are read: CIFAR-10, folders of class folders, tables of labels."""
